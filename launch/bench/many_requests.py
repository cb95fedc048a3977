"""Many requests at once, with a line that tells how far they are."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TypeVar

from sglang_kimi.launch.demo.progress import ProgressLine

Item = TypeVar("Item")
Result = TypeVar("Result")

_POLL_S = 0.5


def run_many(
    send: Callable[[Item], Result], items: Sequence[Item], num_at_once: int, label: str
) -> tuple[list[Result], float]:
    """Return the results in the items' order, and the seconds that all took together.

    Raises the first error; what has not begun by then is left out.
    """
    line, started = ProgressLine(label), time.monotonic()
    with ThreadPoolExecutor(num_at_once) as pool:
        futures = [pool.submit(send, item) for item in items]
        pending = set(futures)
        try:
            while pending:
                done, pending = wait(pending, _POLL_S, FIRST_COMPLETED)
                for future in done:
                    future.result()
                num_done = len(items) - len(pending)
                line(time.monotonic() - started, f"{num_done:,} of {len(items):,}")
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    seconds = time.monotonic() - started
    line.done(f"{len(items):,} in {seconds:.0f} s\n")
    return [future.result() for future in futures], seconds
