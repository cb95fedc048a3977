"""What this process holds in memory, as Linux counts it."""

import resource
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessMemory:
    """Resident bytes by kind, their peak, and the pages that were faulted in so far.

    anonymous:    the process's own memory.
    mapped:       pages of mapped files; they can be dropped and read again.
    peak:         the most that both were together.
    major_faults: pages that had to be read from the disk; minor_faults: those in memory already.
    """

    anonymous: int
    mapped: int
    peak: int
    major_faults: int
    minor_faults: int


def process_memory() -> ProcessMemory:
    """Return the figures of this process, now."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    kib = {words[0]: int(words[1]) for words in lines if words[-1:] == ["kB"]}
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return ProcessMemory(
        anonymous=kib["RssAnon:"] * 1024,
        mapped=kib["RssFile:"] * 1024,
        peak=kib["VmHWM:"] * 1024,
        major_faults=usage.ru_majflt,
        minor_faults=usage.ru_minflt,
    )
