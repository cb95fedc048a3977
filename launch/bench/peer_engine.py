"""The two engines that are compared, each as a process that answers JSON lines.

question: {"prompts": [[id]], "num_tokens": n}; answer: {"prefill_s", "total_s", "steps_s": [..],
"outputs": [[id]]}, greedy.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sglang_kimi.cpu.defaults import PROCESS_ENVIRONMENT
from sglang_kimi.launch.environment import default_cache, find_uv
from sglang_kimi.launch.server_process import server_environment

from .line_process import LineProcess

IK_LLAMA: Final = "ik-llama-cpp-python==0.1.5"
_STEP_PROCESS: Final = "sglang_kimi.step_process"
_SCRIPT: Final = Path(__file__).with_name("ik_llama.py")


@dataclass(frozen=True)
class Answer:
    """What an engine did with some prompts at once, in seconds; outputs: ids by prompt."""

    prefill_s: float
    total_s: float
    steps_s: list[float]
    outputs: list[list[int]]

    @property
    def tokens_per_s(self) -> float:
        """Return generated tokens a second, the prefill in it."""
        return sum(len(ids) for ids in self.outputs) / self.total_s


class PeerEngine(LineProcess):
    """A context with an engine."""

    def run(self, prompts: Sequence[Sequence[int]], num_tokens: int) -> Answer:
        """Generate so many tokens for all prompts at once. ServerError if the process ended."""
        return Answer(**self.ask({"prompts": prompts, "num_tokens": num_tokens}))


def our_engine(checkpoint: Path, num_threads: int, num_slots: int) -> PeerEngine:
    """Return the model's own steps in our package, without a server."""
    flags = ["--device", "cpu", "--max-total-tokens", str(num_slots)]
    threads = {"OMP_NUM_THREADS": str(num_threads)}
    environment = {**PROCESS_ENVIRONMENT, **server_environment(checkpoint), **threads}
    command = [sys.executable, "-m", _STEP_PROCESS, str(checkpoint), *flags]
    return PeerEngine(command, environment)


def ik_llama(model: Path, num_threads: int, num_slots: int, *, is_exact: bool) -> PeerEngine:
    """Return ik-llama with a GGUF file.

    is_exact: a float32 cache and weights as they are, to compare tokens; else its fastest way.
    """
    sizes = [str(num_threads), str(num_slots), "exact" if is_exact else "fast"]
    return PeerEngine([str(ik_llama_python()), str(_SCRIPT), str(model), *sizes])


def ik_llama_python() -> Path:
    """Return the Python of an environment with ik-llama, made in the user's cache at first use.

    Raises subprocess.CalledProcessError where it cannot be installed; its output says why.
    """
    folder = default_cache() / IK_LLAMA.replace("==", "-")
    python, complete = folder / "bin" / "python", folder / ".complete"
    if not complete.is_file():
        uv = str(find_uv(default_cache()))
        environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
        make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)]
        install = [uv, "pip", "install", "--quiet", "--python", str(python), IK_LLAMA]
        for command in (make, install):
            subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
        complete.touch()
    return python
