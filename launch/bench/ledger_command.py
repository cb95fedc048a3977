"""`sglang-kimi bench ledger`: measure on this machine what a ledger in a file costs."""

import argparse

from sglang_kimi.launch.jsonlines import load_vocabulary

_DESCRIPTION = """\
Build one prompt again and again, warm, with its turns in a ledger in memory and in one in a file:
where nobody wrote, where another server wrote something else, and where every turn has to be read
from the file. Prints milliseconds, the shortest of 15; of recording, the median."""


def add_parser(subjects: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subject `ledger`."""
    parser = subjects.add_parser(
        "ledger", help="cost of a ledger in a file", description=_DESCRIPTION
    )
    parser.add_argument(
        "--tokenizer", required=True, metavar="DIR", help="folder with tiktoken.model"
    )
    parser.add_argument(
        "--turns", type=int, default=200, metavar="N", help="turns in the history (default 200)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print; returns the exit status."""
    from .ledger_cost import measure

    cost = measure(load_vocabulary(args.tokenizer), args.turns)
    print(f"one prompt of {cost.num_tokens:,} tokens, {cost.num_turns} turns in the ledger; ms\n")
    for name, seconds in (
        ("ledger in memory", cost.memory_s),
        ("in a file, nobody wrote", cost.file_s),
        ("in a file, another server wrote", cost.after_sibling_s),
        ("in a file, all turns read again", cost.read_again_s),
        ("recording a turn in memory", cost.memory_record_s),
        ("recording a turn in a file", cost.file_record_s),
    ):
        print(f"{name:<32} {seconds * 1e3:>7.3f}")
    return 0
