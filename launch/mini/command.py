"""`sglang-kimi mini DIR`: write a checkpoint that is the real thing in small."""

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sglang_kimi.launch.jsonlines import UsageError

if TYPE_CHECKING:
    from .writer import MiniCheckpoint

DEFAULT_SEED = 0


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the sub-command `mini`."""
    parser = subparsers.add_parser(
        "mini",
        help="write a small checkpoint in the real format, to try things with",
        description="Write a checkpoint that is the real thing in small: same files, tensor names, "
        "INT4 packing, control tokens and chat format, 12 MB, random weights. The same seed gives "
        "the same bytes. A folder that this command wrote before is replaced.",
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="folder to write")
    parser.add_argument(
        "--random",
        action="store_true",
        help="random weights; the only kind there is today, so also the default",
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        default=DEFAULT_SEED,
        metavar="N",
        help=f"what the random weights follow from (default {DEFAULT_SEED})",
    )
    parser.add_argument(
        "--geometry",
        choices=("mini", "bench", "layer", "full"),
        default="mini",
        help="'bench' is 0.25 GB with attention of the true size, to measure on; 'layer' is 11 "
        "GB, one dense and one MoE layer of the true size; 'full' writes such MoE layers alone for "
        "kernel tests, 9.8 GB each: no embeddings, no tokenizer, cannot be served (default mini)",
    )
    parser.add_argument(
        "--layers",
        type=int,
        metavar="N",
        help="number of decoder layers (default: 4 and for layer 2, the first dense; for full 1, "
        "all MoE)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the checkpoint and say what it is; raises UsageError if the folder cannot be used."""
    from tqdm import tqdm

    from .writer import MiniError, write_mini_checkpoint

    asked_to_end: list[int] = []

    def end(number: int, _frame: object) -> None:
        asked_to_end.append(number)
        sys.exit(143)  # an exception, so that no half-written folder stays

    signal.signal(signal.SIGTERM, end)
    # The delay keeps the bar away from what takes a moment only.
    with tqdm(
        total=0, unit="B", unit_scale=True, desc="writing", delay=1, file=sys.stderr, leave=False
    ) as bar:

        def show(written: int, total: int) -> None:
            if asked_to_end:  # Python drops an exception that a finalizer was interrupted by
                sys.exit(143)
            bar.total = total
            bar.update(written - bar.n)

        try:
            report = write_mini_checkpoint(
                args.directory,
                seed=args.seed,
                geometry=args.geometry,
                num_layers=args.layers,
                progress=show,
            )
        except (MiniError, OSError) as error:
            raise UsageError(str(error)) from error
    print(describe(report, args.seed))
    return 0


def describe(report: "MiniCheckpoint", seed: int) -> str:
    """Return what a user should know of the folder, in two or three lines."""
    size = f"{report.num_bytes / 1e6:,.1f} MB, {report.num_shards} shards"
    text = (
        f"{report.directory}: {report.num_layers} layers, {report.num_parameters:,} parameters, "
        f"{report.num_tensors} tensors, {size}\n"
        f"random weights (seed {seed}): right in form, its answers mean nothing"
    )
    if report.geometry == "full":
        return text + "\ntrue-size MoE layers only: for kernel tests, cannot be served"
    return text + f"\nserve it: sglang-kimi serve {report.directory}"


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"want a number from 0 up, got {text!r}")
    return int(text)
