"""Say beforehand that other processes take the cores on which something is to be timed."""

import os
import sys
import time
from typing import Final

import psutil

WATCHED_S: Final = 1.0
MOST_CORES: Final = 0.2  # in use by others: what an idle desktop or server has


def warn_of_other_load() -> None:
    """Watch this machine for a second, in which the caller does nothing; warn where others work."""
    busy = cores_in_use(WATCHED_S)
    if busy > MOST_CORES:
        print(
            f"bench: other processes use {busy:.1f} of {os.cpu_count()} cores; stop them, or take "
            "the figures below, ratios too, for what a busy machine gives",
            file=sys.stderr,
        )


def cores_in_use(seconds: float) -> float:
    """Return how many cores were busy on average while this thread slept."""
    before = psutil.cpu_times()
    time.sleep(seconds)
    after = psutil.cpu_times()
    idle = after.idle - before.idle + getattr(after, "iowait", 0.0) - getattr(before, "iowait", 0.0)
    total = sum(after) - sum(before)
    return (os.cpu_count() or 1) * max(0.0, 1 - idle / total) if total else 0.0
