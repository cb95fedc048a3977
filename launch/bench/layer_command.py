"""`sglang-kimi bench layer DIR`: one MoE layer of a checkpoint, mapped, with or without memory."""

import argparse
import sys
from pathlib import Path

from sglang_kimi.launch.jsonlines import UsageError

from .memory_limit import MemoryLimitError, parse_bytes, run_limited

_DESCRIPTION = """\
Run the routed experts of one MoE layer where they lie in a checkpoint's files, mapped and not
copied: decode of 1, 8 and 32 tokens, prefill of 64, each token to experts drawn at random. `first`
is a call with experts that may have to be read, `again` the same call once more. Sampled tokens are
compared with float64. Touched are the bytes of the experts that a call needs. With --memory-limit
the files' pages count too, so they are dropped and read again; they are dropped from the page cache
before the start, because pages that another process brought in would not count."""


def add_parser(subjects: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subject `layer`."""
    parser = subjects.add_parser(
        "layer", help="one layer's mapped experts, memory limited or not", description=_DESCRIPTION
    )
    parser.add_argument(
        "directory",
        metavar="DIR",
        type=Path,
        help="a checkpoint; `sglang-kimi mini DIR --geometry full` writes one layer of true size",
    )
    parser.add_argument(
        "--layer", type=int, metavar="N", help="which (default: the first with routed experts)"
    )
    parser.add_argument(
        "--rounds", type=_rounds, default=5, metavar="N", help="batches of a size (default 5)"
    )
    parser.add_argument(
        "--cold", action="store_true", help="drop the layer's files from the page cache first"
    )
    parser.add_argument(
        "--memory-limit",
        type=_bytes,
        metavar="BYTES",
        help="run in a control group with so much memory, such as 4G (Linux; may need root)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print; returns the exit status, 1 where a target is missed."""
    if args.memory_limit is not None:
        return _run_limited(args)
    from .layer_experts import drop_from_page_cache, map_layer
    from .layer_table import show_layer
    from .other_load import warn_of_other_load

    try:
        layer = map_layer(args.directory, args.layer)
    except (OSError, ValueError) as error:
        raise UsageError(f"{args.directory}: {error}") from error
    warn_of_other_load()
    if args.cold:
        drop_from_page_cache(layer.shards)
    misses = show_layer(layer, args.rounds, lambda text: print(text, flush=True))
    for line in misses:
        print(f"bench: missed: {line}")
    return 1 if misses else 0


def _run_limited(args: argparse.Namespace) -> int:
    command = [sys.executable, "-P", "-m", "sglang_kimi.launch", "bench", "layer", "--cold"]
    command += ["--rounds", str(args.rounds), str(args.directory)]
    if args.layer is not None:
        command += ["--layer", str(args.layer)]
    try:
        done = run_limited(command, args.memory_limit)
    except MemoryLimitError as error:
        raise UsageError(f"--memory-limit: {error}") from error
    if done.peak_bytes is not None:
        print(
            f"control group: limit {args.memory_limit / 1e9:.2f} GB, "
            f"at most {done.peak_bytes / 1e9:.2f} GB held, files' pages included"
        )
    if done.returncode < 0:
        print(f"bench: missed: ended by signal {-done.returncode}, the limit is too low")
        return 1
    return done.returncode


def _rounds(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"want a number from 1 up, got {text!r}")
    return int(text)


def _bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
