"""kt-kernel beside our INT4 experts: its wheel in the user's cache, run in a process of its own.

The wheel asks for a torch of its own and brings packages that overwrite SGLang's. So its
requirements are not installed, and of its packages only `kt_kernel` is kept: our torch serves it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sglang_kimi.launch.environment import SetupError, default_cache, find_uv
from sglang_kimi.launch.server_process import ServerError

from .line_process import LineProcess

KT_KERNEL: Final = "kt-kernel==0.7.2"
KEPT: Final = ("kt_kernel", "kt_kernel.libs")
VARIANT: Final = "KT_KERNEL_CPU_VARIANT"
"""Its variable for the instruction set that it was built for; it chooses where that is unset."""
_PROCESS: Final = "sglang_kimi.launch.bench.kt_kernel_process"


class KtKernelError(Exception):
    """kt-kernel cannot be installed or run here; the text says why, in one line."""


@dataclass(frozen=True)
class Loaded:
    """Experts in kt-kernel: the build and kernel that it chose, and the first token's output."""

    variant: str
    kernel: str
    output: list[float]


class KtKernel(LineProcess):
    """A context with kt-kernel in a process; variant: None for the best that it has for this CPU.

    Its methods raise KtKernelError if the process ended.
    """

    def __init__(self, folder: Path, variant: str | None = None) -> None:
        environment = dict(os.environ) if variant is None else {**os.environ, VARIANT: variant}
        super().__init__([sys.executable, "-P", "-m", _PROCESS, str(folder)], environment)

    def load(self, shape: Sequence[int], threads: Sequence[int]) -> Loaded:
        """Make the experts and tokens of `kernel_experts`, once for each number of threads.

        shape: hidden_size, moe_intermediate_size, number of experts, number of tokens.
        """
        try:
            return Loaded(**self.ask({"shape": shape, "threads": threads}))
        except ServerError as error:
            raise KtKernelError(last_line(str(error))) from error

    def seconds(self, threads: int) -> float:
        """Return what a call took inside the process, with other tokens each time."""
        try:
            return float(self.ask({"threads": threads})["seconds"])
        except ServerError as error:
            raise KtKernelError(last_line(str(error))) from error


def kt_kernel_folder() -> Path:
    """Return a folder with kt-kernel's own packages alone, made in the user's cache at first use.

    Raises KtKernelError where it cannot be installed.
    """
    folder = default_cache() / KT_KERNEL.replace("==", "-")
    if folder.is_dir():
        return folder
    scratch = folder.with_name(f"{folder.name}.{os.getpid()}")
    try:
        uv = str(find_uv(default_cache()))
        options = ["--quiet", "--no-deps", "--python", sys.executable, "--target", str(scratch)]
        done = subprocess.run(
            [uv, "pip", "install", *options, KT_KERNEL], capture_output=True, text=True
        )
        if done.returncode:
            raise KtKernelError(last_line(done.stderr))
        keep_only(scratch, KEPT)
        if not folder.is_dir():  # another process may have made it
            scratch.rename(folder)
    except (OSError, SetupError) as error:
        raise KtKernelError(last_line(str(error))) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def keep_only(folder: Path, names: Sequence[str]) -> None:
    """Remove everything else from a folder. Raises KtKernelError if one of the names is missing."""
    for path in folder.iterdir():
        if path.name in names:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if missing := [name for name in names if not (folder / name).is_dir()]:
        raise KtKernelError(f"{KT_KERNEL} has no folder {missing[0]}")


def last_line(text: str) -> str:
    """Return the last line of an error that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it ended without a word"
