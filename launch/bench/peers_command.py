"""`sglang-kimi bench peers`: the model's step and the whole server beside ik-llama."""

import argparse
import signal
import subprocess
import sys
from pathlib import Path

from sglang_kimi.launch.arguments import positive

_DESCRIPTION = """\
Write a small checkpoint in Kimi's format (or take one), turn it into GGUF without changing a
weight, and let ik-llama, the fastest CPU engine that runs this architecture, and this package do
the same work in turn: decode steps, prefills of 512 and 4,096 tokens, 1, 8 and 32 requests at
once, these through a real server. ik-llama is installed into an environment of its own in the
user's cache at first use. Prints where the server's steps go, and compares greedy tokens with an
ik-llama that computes in float32. The exit status is 1 where a target is missed."""


def add_parser(subjects: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subject `peers`."""
    parser = subjects.add_parser(
        "peers", help="steps and server beside ik-llama, on the CPU", description=_DESCRIPTION
    )
    parser.add_argument(
        "--checkpoint",
        metavar="DIR",
        help="a checkpoint that fits in memory three times (default: `mini --geometry bench`)",
    )
    parser.add_argument(
        "--rounds", type=positive, default=5, metavar="N", help="times of each row (default 5)"
    )
    parser.add_argument(
        "--threads", type=positive, default=2, metavar="N", help="of either engine (default 2)"
    )
    parser.add_argument(
        "--no-server", action="store_true", help="leave out what needs a running server"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print; returns the exit status, 1 where a target is missed."""
    from sglang_kimi.launch.server_process import ServerError

    from .gguf_kimi import ConversionError
    from .other_load import warn_of_other_load
    from .peers_table import show_peers

    if args.checkpoint and not Path(args.checkpoint, "config.json").is_file():
        print(f"bench: --checkpoint {args.checkpoint}: no config.json there", file=sys.stderr)
        return 1
    warn_of_other_load()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped too
    try:
        misses = show_peers(args, lambda text: print(text, flush=True))
    except (ServerError, ConversionError, OSError, subprocess.CalledProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    for line in misses:
        print(f"bench: missed: {line}", file=sys.stderr)
    return 1 if misses else 0
