"""`sglang-kimi bench codec`: measure on this machine what the README says."""

import argparse
import sys

from sglang_kimi.launch.jsonlines import load_vocabulary

from . import ledger_command

_DESCRIPTION = """\
Build the prompts of a growing agent session twice in one run, in SGLang's chat handler: with our
conversation encoder, warm from the turn before, and with the chat template and tokenizer over the
whole history, as SGLang does without this package. Prints milliseconds and ratios; the exit
status is 1 where a target is missed. Not measured here: HTTP, and what the server's prefix cache
reuses."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the sub-command `bench`."""
    parser = subparsers.add_parser("bench", help="measure, side by side with stock, in one run")
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    ledger_command.add_parser(subjects)
    codec = subjects.add_parser("codec", help="cost of building prompts", description=_DESCRIPTION)
    codec.add_argument("--tokenizer", required=True, metavar="DIR", help="a checkpoint's folder")
    codec.add_argument(
        "--tokens",
        type=int,
        nargs="+",
        default=[16_000, 64_000, 128_000, 200_000],
        metavar="N",
        help="sizes of the history, in tokens, ascending (default 16000 64000 128000 200000)",
    )
    codec.set_defaults(run=run_codec)


def run_codec(args: argparse.Namespace) -> int:
    """Measure and print; returns the exit status, 1 where a target is missed."""
    from .cost_table import show_costs

    _, misses = show_costs(load_vocabulary(args.tokenizer), args.tokens, print)
    for miss in misses:
        print(f"missed: {miss}", file=sys.stderr)
    return 1 if misses else 0
