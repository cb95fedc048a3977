"""Our server as one side of `bench peers`: requests at once, and its steps from inside."""

import json
import sys
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from sglang_kimi.launch.demo.progress import ProgressLine
from sglang_kimi.launch.server_process import ServerError, ServerProcess

_VARIABLE: Final = "SGLANG_KIMI_STEP_TIMES"
_READY_TIMEOUT_S: Final = 900.0
_REQUEST_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True)
class StepProfile:
    """Medians over the decode steps of one batch size, in seconds; parts as of `step_times`.

    step: one round of the scheduler's loop.
    """

    PARTS: ClassVar = (
        *("step", "forward", "sample", "launch"),
        *("receive", "schedule", "results", "other"),
    )

    parts: dict[str, float]

    @property
    def step(self) -> float:
        """Return a whole step."""
        return self.parts["step"]

    @property
    def overhead(self) -> float:
        """Return what a step takes besides the model's own forward."""
        return self.parts["step"] - self.parts["forward"]


class PeerServer:
    """A context with a server of a checkpoint; its step times lie in `folder`."""

    def __init__(self, checkpoint: Path, num_threads: int, folder: Path, log: Path) -> None:
        self._times = folder / "steps.jsonl"
        environment = {_VARIABLE: str(self._times), "OMP_NUM_THREADS": str(num_threads)}
        flags = ["--device", "cpu"]
        self._server = ServerProcess(checkpoint, flags, environment, log)

    def __enter__(self) -> Self:
        self._server.__enter__()
        try:
            line = ProgressLine("server", sys.stderr)
            self._server.wait_until_ready(_READY_TIMEOUT_S, line)
            line.done("ready")
        except BaseException:
            self._server.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()

    def generate(self, prompts: Sequence[Sequence[int]], num_tokens: int) -> float:
        """Return tokens a second of greedy requests sent at once to /generate."""
        sampling = {"max_new_tokens": num_tokens, "temperature": 0, "ignore_eos": True}
        bodies = [{"input_ids": list(ids), "sampling_params": sampling} for ids in prompts]
        return self._rate("/generate", bodies, "meta_info")

    def chat(self, num_requests: int, num_tokens: int, seed: int) -> float:
        """Return tokens a second of chat requests sent at once, with a few words each."""
        bodies = [
            {
                "model": "default",
                "messages": [{"role": "user", "content": f"{number}: count from {seed} to 100."}],
                "max_tokens": num_tokens,
                "temperature": 0,
                "ignore_eos": True,
            }
            for number in range(num_requests)
        ]
        return self._rate("/v1/chat/completions", bodies, "usage")

    def steps(self, batch_size: int) -> StepProfile:
        """Return the decode steps of this batch size so far. ServerError if there was none."""
        rows = [json.loads(line) for line in self._times.read_text().splitlines()]
        fit = [row for row in rows if row["mode"] == "decode" and row["batch"] == batch_size]
        if not fit:
            raise ServerError(f"the server made no decode step of {batch_size} requests")
        return StepProfile(
            {part: median(row.get(part, 0.0) for row in fit) for part in StepProfile.PARTS}
        )

    def _rate(self, path: str, bodies: Sequence[Any], usage: str) -> float:
        """Send all at once; usage: the field of an answer that counts its tokens."""
        started = time.perf_counter()
        pool = ThreadPoolExecutor(len(bodies))
        try:
            answers = list(pool.map(lambda body: self._post(path, body), bodies))
        finally:  # an interrupt does not wait for answers: stopping the server ends them
            pool.shutdown(wait=False, cancel_futures=True)
        num_tokens = sum(answer[usage]["completion_tokens"] for answer in answers)
        return float(num_tokens / (time.perf_counter() - started))

    def _post(self, path: str, body: Any) -> Any:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(
            self._server.url + path, json.dumps(body).encode(), headers
        )
        try:
            with direct.open(request, timeout=_REQUEST_TIMEOUT_S) as response:
                return json.load(response)
        except OSError as error:
            log = self._server.log_tail(20)
            raise ServerError(f"{path}: {error}; the server's log ends:\n{log}") from error
