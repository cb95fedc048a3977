"""Where a scheduler's steps go, a JSON line each, where `SGLANG_KIMI_STEP_TIMES` names a file.

For `sglang-kimi bench peers`; costs nothing where the variable is unset. One rank without the
overlap schedule (the CPU's way): the parts of a step are then parts of one loop round.

line: {"mode": "decode" or "extend", "batch": requests in it, and in seconds "step" (a whole round
      of the scheduler), "forward" (the model), "sample", "launch" (the rest of running the batch),
      "receive", "schedule", "results"}
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
    "receive": "scheduler_receive",
    "schedule": "scheduler_next_batch",
    "launch": "scheduler_run_batch",
    "forward": "runner_forward",
    "sample": "runner_sample",
}


class StepTimes:
    """The seconds of one round's parts, written when its results have been processed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seconds: dict[str, float] = {}

    def timed(self, part: str) -> Callable[..., Any]:
        """Return a hook that adds a call's seconds to a part."""

        def run(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                self._seconds[part] = time.perf_counter() - started

        return run

    def finish(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Time the results of a batch and write the round's line."""
        batch = args[1]
        mode = "decode" if batch.forward_mode.is_decode() else "extend"
        line: dict[str, Any] = {"mode": mode, "batch": batch.batch_size()}
        result = self.timed("results")(original, *args, **kwargs)
        seconds, self._seconds = self._seconds, {}
        outer = ("receive", "schedule", "launch", "results")
        line["step"] = sum(seconds.get(part, 0.0) for part in outer)
        seconds["launch"] -= seconds.get("forward", 0.0) + seconds.get("sample", 0.0)
        with self._path.open("a") as file:
            file.write(json.dumps(line | seconds) + "\n")
        return result


def register() -> None:
    """Hook the scheduler where the variable is set."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    times = StepTimes(Path(path))
    for part, seam in _PARTS.items():
        hook(seam, times.timed(part), "around")
    hook("scheduler_results", times.finish, "around")
