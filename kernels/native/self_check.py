"""One small product a kernel against plain torch: what a library has to pass before it is used."""

import ctypes

import torch
from torch import Tensor

from ..moe.int4_experts import Int4Experts
from ..moe.int4_format import quantize_int4
from ..moe.int4_native import native_moe_int4
from ..moe.int4_reference import ref_moe_int4

LARGEST_ERROR = 1e-3  # relative; right code has 5e-5, wrong code about 1


class CheckError(RuntimeError):
    """A compiled library computes something else than torch."""


def check_library(library: ctypes.CDLL) -> None:
    """Compare few tokens, many tokens and sizes that end within a vector. Takes milliseconds.

    Raises CheckError naming the kernel.
    """
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    w13, w13_scale = quantize_int4(random(3, 2 * 160, 96))
    w2, w2_scale = quantize_int4(random(3, 96, 160))
    experts = Int4Experts(w13, w13_scale, w2, w2_scale)
    for num_tokens in (1, 9):
        x, weights = random(num_tokens, 96), random(num_tokens, 2)
        ids = torch.arange(2 * num_tokens, dtype=torch.int32).view(num_tokens, 2) % 4 - 1
        found = native_moe_int4(library, x, experts, ids, weights)
        _compare("kimi_moe_int4", found, ref_moe_int4(x, experts, ids, weights))


def _compare(name: str, found: Tensor, expected: Tensor) -> None:
    error = float((found - expected).norm() / expected.norm())
    if not error < LARGEST_ERROR:  # also where it is not a number
        raise CheckError(f"{name} is wrong: relative error {error:.1e} against plain torch")
