"""`sglang-kimi bench parsers`: show on this machine what the grammars hold and what they cost."""

import argparse
from pathlib import Path
from typing import Final

from sglang_kimi.launch.jsonlines import UsageError

from . import good_part, parser_throughput, schemas_part, serving_part
from .parts import Part, add_part_argument, described, run_parts
from .walle_requests import MAX_TOKENS

_DESCRIPTION: Final = """\
Let models without any learning call tools, and let scripted models say what good ones say, with
grammars on real servers; stock handling beside it in the same run. Servers are started and stopped
by the command and serve a mini checkpoint; the exit status is 1 where a part misses its target."""

_WALLE: Final = Path("../shared/walle")
"""Where the public schemas lie beside a checkout of this project."""

PARTS: Final = (
    Part("schemas", "random weights: do calls come, complete and valid", schemas_part.run),
    Part("good-output", "scripted calls of good models: does all of it pass", good_part.run),
    Part("serving", "eight requests at once, grammar on against off", serving_part.run),
    Part("throughput", "long arguments in small pieces; stock beside", parser_throughput.run),
)
"""In the order in which they run."""


def add_parser(subjects: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subject `parsers`."""
    parser = subjects.add_parser(
        "parsers",
        help="tool calls: what grammars hold, and what they cost",
        description=f"{_DESCRIPTION}\n\n{described(PARTS)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_part_argument(parser, PARTS)
    parser.add_argument(
        "--tokenizer",
        metavar="DIR",
        help="folder with tiktoken.model, for the parts that want a vocabulary of the true size "
        "(default: the mini's)",
    )
    parser.add_argument(
        "--walle",
        type=Path,
        metavar="DIR",
        default=_WALLE if _WALLE.is_dir() else None,
        help=f"schemas: folder with the public schemas as .jsonl (default: {_WALLE}, if there)",
    )
    parser.add_argument(
        "--walle-tokens",
        type=int,
        metavar="N",
        default=MAX_TOKENS,
        help=f"schemas: max_tokens for the public schemas (default {MAX_TOKENS}, the verifier's)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the chosen parts; returns the exit status, 1 where a target is missed."""
    if args.walle is not None and not args.walle.is_dir():
        raise UsageError(f"--walle: want a folder, got {args.walle}")
    return run_parts(args, PARTS)
