"""`sglang-kimi bench codec`: show on this machine what the README says, part by part."""

import argparse
from pathlib import Path

from . import (
    cost_part,
    injection_part,
    kernels_command,
    layer_command,
    ledger_command,
    loops_part,
    pages_part,
    parsers_command,
    peers_command,
    plot,
    reuse_part,
    soak_part,
    thinking_part,
)
from .parts import Part, add_part_argument, described, run_parts
from .workshop import Workshop

_DESCRIPTION = """\
Measure prompts and what servers reuse of them, with this package and with SGLang's own chat
handling, side by side in one run. Servers are started and stopped by the command and serve a mini
checkpoint; the exit status is 1 where a part misses its target."""


PARTS = (
    Part("cost", "build times of prompts, ours and template with tokenizer", cost_part.run),
    Part("reuse", "agent loops on servers, ours and stock: what the cache gave", reuse_part.run),
    Part("loops", "equal agents with other thoughts: whose stand in a prompt", loops_part.run),
    Part("thinking", "the model card's demo of preserved thinking", thinking_part.run),
    Part("pages", "the same loops with --page-size 64: what each turn loses", pages_part.run),
    Part("injection", "clients' texts that spell control tokens, way by way", injection_part.run),
    Part("soak", "ten thousand conversations within small limits", soak_part.run),
)
"""In the order in which they run."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the sub-command `bench`."""
    parser = subparsers.add_parser("bench", help="measure, side by side with stock, in one run")
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    ledger_command.add_parser(subjects)
    parsers_command.add_parser(subjects)
    kernels_command.add_parser(subjects)
    peers_command.add_parser(subjects)
    layer_command.add_parser(subjects)
    codec = subjects.add_parser(
        "codec",
        help="prompts: their cost, and what is reused of them",
        description=f"{_DESCRIPTION}\n\n{described(PARTS)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_part_argument(codec, PARTS)
    codec.add_argument(
        "--tokenizer",
        metavar="DIR",
        help="folder with tiktoken.model, for the parts without a server (default: the mini's)",
    )
    codec.add_argument(
        "--tokens",
        type=int,
        nargs="+",
        default=[16_000, 64_000, 128_000, 200_000],
        metavar="N",
        help="cost: sizes of the history, in tokens (default 16000 64000 128000 200000)",
    )
    codec.add_argument(
        "--turns",
        type=_turns,
        nargs="+",
        default=[8, 50],
        metavar="N",
        help="reuse: a table after so many turns of the loops, each at least 2 (default 8 50)",
    )
    codec.add_argument(
        "--plot", type=Path, metavar="FILE", help="cost and reuse as a picture: .png, .svg, .pdf"
    )
    codec.set_defaults(run=run_codec)


def _turns(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"want a number from 2 up, got {text!r}")
    return int(text)


def run_codec(args: argparse.Namespace) -> int:
    """Run the chosen parts; returns the exit status, 1 where a target is missed."""
    if args.plot:
        plot.check_plot(args.plot, args.part)

    def draw(workshop: Workshop) -> None:
        if args.plot:
            plot.draw(args.plot, workshop.plot_data)
            print(f"plot: {args.plot}")

    return run_parts(args, PARTS, draw)
