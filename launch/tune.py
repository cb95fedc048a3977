"""`sglang-kimi tune int4`: measure the tile sizes of the Triton INT4 kernels on this GPU."""

import argparse
import sys
from pathlib import Path
from typing import Any

from sglang_kimi.launch.arguments import positive
from sglang_kimi.launch.jsonlines import UsageError

_DESCRIPTION = """\
Time the Triton INT4 expert kernels on the GPU that is here with many tile sizes, compare the
fastest with plain torch, and write it where the kernels look for it: a file for this kind of GPU in
the user's cache, or --output. Takes minutes, most of them compiling. The defaults are one rank's
share of Kimi-K2.7-Code at --ep-size 8."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the sub-command `tune`."""
    parser = subparsers.add_parser("tune", help="measure tile sizes on this GPU")
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    int4 = subjects.add_parser(
        "int4", help="the Triton INT4 expert kernels", description=_DESCRIPTION
    )
    for name, default, text in (
        ("num-experts", 384, "routed experts in all"),
        ("ep-size", 8, "ranks that share them"),
        ("tp-size", 1, "ranks that share one expert's intermediate size"),
        ("hidden-size", 7168, "width of a token"),
        ("moe-intermediate-size", 2048, "width of an expert"),
        ("top-k", 8, "experts of a token"),
    ):
        int4.add_argument(
            f"--{name}",
            type=positive,
            default=default,
            metavar="N",
            help=f"{text} (default {default})",
        )
    int4.add_argument(
        "--tokens",
        type=_numbers,
        default=(1, 8, 32, 128, 512, 2048, 8192),
        metavar="N,N,...",
        help="numbers of tokens to tune for (default 1,8,32,128,512,2048,8192)",
    )
    int4.add_argument("--device", default="cuda", metavar="NAME", help="(default cuda)")
    int4.add_argument("--output", type=Path, metavar="FILE", help="write here instead")
    int4.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tune and write; returns the exit status, 1 with one line where it cannot be done."""
    shape_sizes = _shares(args)
    import torch

    if not torch.cuda.is_available():
        print("sglang-kimi tune int4: no GPU here, and nothing else to tune for", file=sys.stderr)
        return 1
    try:
        device = torch.device(args.device)
        path = _tune(args, shape_sizes, device)
    except RuntimeError as error:  # no such device, no tile that runs, a wrong result
        print(f"sglang-kimi tune int4: {error}", file=sys.stderr)
        return 1
    print(f"wrote {path}")
    return 0


def _tune(args: argparse.Namespace, shape_sizes: tuple[int, int, int], device: Any) -> Path:
    import torch
    import triton

    from sglang_kimi.kernels.moe.int4_configs import (
        ExpertsShape,
        file_name,
        user_folder,
        write_configs,
    )
    from sglang_kimi.kernels.moe.int4_tuning import Problem, tune

    shape = ExpertsShape(*shape_sizes)
    name = torch.cuda.get_device_name(device)
    print(f"{name}: experts x hidden x intermediate = {shape}", flush=True)
    with torch.cuda.device(device):
        problem = Problem(shape, args.num_experts, args.top_k)
        entries = tune(problem, args.tokens, device, lambda line: print(line, flush=True))
    path: Path = args.output or user_folder() / file_name(name)
    write_configs(path, name, triton.__version__, str(shape), entries)
    return path


def _shares(args: argparse.Namespace) -> tuple[int, int, int]:
    """Return one rank's experts, hidden and intermediate size; UsageError if they do not divide."""
    for whole, parts, multiple in (
        ("num-experts", "ep-size", 1),
        ("moe-intermediate-size", "tp-size", 32),
    ):
        value, divisor = (getattr(args, name.replace("-", "_")) for name in (whole, parts))
        if value % (divisor * multiple):
            raise UsageError(
                f"--{whole} {value}: want a multiple of {multiple} for each of --{parts} {divisor}"
            )
    if args.hidden_size % 32:
        raise UsageError(f"--hidden-size {args.hidden_size}: want a multiple of 32")
    if args.top_k > args.num_experts:
        raise UsageError(f"--top-k {args.top_k}: want at most --num-experts {args.num_experts}")
    return (
        args.num_experts // args.ep_size,
        args.hidden_size,
        args.moe_intermediate_size // args.tp_size,
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(positive(part.strip()) for part in text.split(","))
