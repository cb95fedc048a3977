"""Where a scheduler's steps go, a JSON line each, where `SGLANG_KIMI_STEP_TIMES` names a file.

For `sglang-kimi bench peers`; costs nothing where the variable is unset. One rank on the CPU, where
the forward is over when the call returns, with or without SGLang's overlap schedule.

line: {"mode": "decode" or "extend", "batch": requests in it, and in seconds "step" (a round of the
      scheduler's loop that ran a batch), and its parts: "forward" (the model), "sample", "launch"
      (the rest of running the batch), "receive", "schedule", "results", "other" (the rest)}
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from .seams import hook

VARIABLE: Final = "SGLANG_KIMI_STEP_TIMES"
_PARTS: Final = {
    "schedule": "scheduler_next_batch",
    "results": "scheduler_results",
    "forward": "runner_forward",
    "sample": "runner_sample",
}


class StepTimes:
    """The seconds of one round's parts, written when the next round begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._began = 0.0
        self._batch: dict[str, Any] | None = None
        self._seconds: dict[str, float] = {}
        self._nested = [0.0]  # of each running call: the seconds of timed calls inside it

    def timed(self, part: str) -> Callable[..., Any]:
        """Return a hook that adds a call's seconds to a part, without those of parts inside it."""

        def run(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            self._nested.append(0.0)
            try:
                return original(*args, **kwargs)
            finally:
                took = time.perf_counter() - started
                own = took - self._nested.pop()
                self._nested[-1] += took
                self._seconds[part] = self._seconds.get(part, 0.0) + own

        return run

    def receive(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Write the line of the round before and time the receiving, which begins a round."""
        if self._batch:
            step = time.perf_counter() - self._began
            other = step - sum(self._seconds.values())
            line = self._batch | {"step": step, "other": other} | self._seconds
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        self._batch, self._seconds = None, {}
        self._began = time.perf_counter()
        return self.timed("receive")(original, *args, **kwargs)

    def launch(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Time the running of a batch, which the round's line is about."""
        batch = args[1]
        mode = "decode" if batch.forward_mode.is_decode() else "extend"
        self._batch = {"mode": mode, "batch": batch.batch_size()}
        return self.timed("launch")(original, *args, **kwargs)


def register() -> None:
    """Hook the scheduler where the variable is set."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    times = StepTimes(Path(path))
    for part, seam in _PARTS.items():
        hook(seam, times.timed(part), "around")
    hook("scheduler_receive", times.receive, "around")
    hook("scheduler_run_batch", times.launch, "around")
