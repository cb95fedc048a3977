"""Run a command in a control group whose memory, files' pages included, is limited.

Version 1 and 2 of Linux's cgroups. Making a group takes the right to write there: root, or a tree
that was delegated to the user.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class MemoryLimitError(Exception):
    """No group can be made here; the message says what else to do."""


@dataclass(frozen=True)
class LimitedRun:
    """How a limited command ended, and the most memory that its group held."""

    returncode: int
    peak_bytes: int | None


@dataclass(frozen=True)
class _Version:
    """The files of one version of cgroups."""

    limit: str
    swap_limit: str
    peak: str


_V1: Final = _Version(
    "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max_usage_in_bytes"
)
_V2: Final = _Version("memory.max", "memory.swap.max", "memory.peak")


def parse_bytes(text: str) -> int:
    """Return the bytes that `4G`, `512M` or a plain number names; ValueError for other text."""
    match = re.fullmatch(r"([1-9][0-9]{0,14})([KMG]?)", text.strip().upper())
    if match is None:
        raise ValueError(f"want a number of bytes such as 4G or 512M, got {text!r}")
    return int(match[1]) * UNITS[match[2]]


def run_limited(command: Sequence[str], limit_bytes: int) -> LimitedRun:
    """Run `command` to its end under a limit of so many bytes, without swap.

    Raises MemoryLimitError where no group can be made.
    """
    group, version = _make_group(limit_bytes)
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', group / "cgroup.procs", *command]
        )
        return LimitedRun(done.returncode, _read_number(group / version.peak))
    finally:
        group.rmdir()


def _make_group(limit_bytes: int) -> tuple[Path, _Version]:
    for parent, version in _parents(Path("/proc/self/cgroup").read_text(), CGROUP_ROOT):
        group = parent / f"sglang-kimi-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            _write_limits(group, version, limit_bytes)
        except OSError:
            group.rmdir()
            continue
        return group, version
    raise MemoryLimitError(
        "no control group with a memory limit can be made here; run the command without the "
        f"option under: systemd-run --user --scope -p MemoryMax={limit_bytes} -p MemorySwapMax=0"
    )


def _parents(own_groups: str, root: Path) -> Iterator[tuple[Path, _Version]]:
    """Yield where a group may be made, nearest to this process first.

    own_groups: the text of /proc/self/cgroup, lines of `number:controllers:path`.
    """
    for line in own_groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            mounted, version = root / "memory", _V1
        elif not controllers:
            mounted, version = root, _V2
        else:
            continue
        own = mounted / path.lstrip("/")
        for parent in (own, *own.parents):
            if parent.is_dir():
                yield parent, version
            if parent == mounted:
                break


def _write_limits(group: Path, version: _Version, limit_bytes: int) -> None:
    if not (group / version.limit).exists():  # open() would make it in a group without memory
        raise FileNotFoundError(version.limit)
    (group / version.limit).write_text(f"{limit_bytes}\n")
    if (group / version.swap_limit).exists():
        swap = limit_bytes if version is _V1 else 0  # version 1 counts memory and swap together
        (group / version.swap_limit).write_text(f"{swap}\n")


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
