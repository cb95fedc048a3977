"""The parts that a subject of `sglang-kimi bench` consists of, and how they are run."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sglang_kimi.launch.server_process import ServerError

from .scripted_agent import ScriptError
from .workshop import Workshop


@dataclass(frozen=True)
class Part:
    """One thing to show: `run` prints it and returns a line for each target that is missed."""

    name: str
    description: str
    run: Callable[[Workshop], Sequence[str]]


def described(parts: Sequence[Part]) -> str:
    """Return the lines of a help text that say what the parts show."""
    return "parts:\n" + "\n".join(f"  {part.name:<12} {part.description}" for part in parts)


def add_part_argument(parser: argparse.ArgumentParser, parts: Sequence[Part]) -> None:
    """Add `--part`: some of the parts' names, by default all."""
    names = [part.name for part in parts]
    parser.add_argument(
        "--part",
        nargs="+",
        choices=names,
        default=names,
        metavar="PART",
        help="what to run (default: all)",
    )


def run_parts(
    args: argparse.Namespace,
    parts: Sequence[Part],
    then: Callable[[Workshop], None] = lambda workshop: None,
) -> int:
    """Run the parts named by `--part` in their order; returns 1 where a target is missed, or 0.

    then: called at the end with what the parts have left.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped too
    misses: list[str] = []
    workshop = Workshop(args)
    try:
        with workshop:
            for part in parts:
                if part.name in args.part:
                    print(f"{part.name}: {part.description}\n", flush=True)
                    misses += part.run(workshop)
                    print(flush=True)
            then(workshop)
    except (ServerError, ScriptError) as error:
        print(f"bench: {error}\nThe servers' logs: {workshop.folder}", file=sys.stderr)
        return 1
    for line in misses:
        print(f"bench: missed: {line}", file=sys.stderr)
    return 1 if misses else 0
