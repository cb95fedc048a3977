"""`sglang-kimi bench kernels`: the CPU kernels beside torch's forms of the same work."""

import argparse

_DESCRIPTION = """\
Time INT4 experts, products with bf16 weights, and MLA of this package beside plain torch,
interleaved, on random weights. read and FMA are this machine's limits, measured in the same run: a
sum over 1 GiB, and torch's float32 matrix product. Prints median and p90, the work done a second,
its share of the limit, the time of the other forms over ours, and the error against float64."""


def add_parser(subjects: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subject `kernels`."""
    parser = subjects.add_parser(
        "kernels", help="CPU kernels beside torch", description=_DESCRIPTION
    )
    parser.add_argument(
        "--rounds", type=int, default=15, metavar="N", help="times of each form (default 15)"
    )
    parser.add_argument(
        "--kt-kernel",
        action="store_true",
        help="time the INT4 experts beside kt-kernel too, installed apart into the user's cache at "
        "first use (100 MB)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print; returns the exit status, 1 where a target is missed."""
    from .kernel_table import show_kernels
    from .other_load import warn_of_other_load

    warn_of_other_load()
    misses = show_kernels(
        args.rounds, lambda text: print(text, flush=True), with_kt_kernel=args.kt_kernel
    )
    for line in misses:
        print(f"bench: missed: {line}")
    return 1 if misses else 0
