"""Measure tile sizes of the Triton INT4 kernels on the GPU that is here. Never run on a GPU yet.

Random weights and routing of a rank's own shape; the result is compared with plain torch before
anyone may use it.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
import triton
from torch import Tensor

from .expert_blocks import blocks_of_pairs
from .int4_configs import ExpertsShape, Tile, config_entry
from .int4_experts import Int4Experts
from .int4_format import GROUP_SIZE, NIBBLES_PER_WORD
from .int4_reference import ref_moe_int4
from .int4_search import Product, candidate_tiles, search
from .int4_triton import Int4Work, triton_moe_int4
from .int4_triton_kernels import down_kernel, gate_up_kernel

logger = logging.getLogger(__name__)

CHECKED_TOKENS: Final = 8
LARGEST_ERROR: Final = 1e-2
"""Norm of the difference to plain torch over torch's norm; under the interpreter 5.4e-3 at most."""


@dataclass(frozen=True)
class Problem:
    """What a rank meets: its experts' shape, of how many in all, and the router's top_k."""

    shape: ExpertsShape
    num_experts: int
    top_k: int


def tune(
    problem: Problem, tokens: Sequence[int], device: torch.device, tell: Callable[[str], None]
) -> Mapping[int, dict[str, Any]]:
    """Return the fastest config for each number of tokens, as `int4_configs` writes them.

    tell: called with a line for each. Raises RuntimeError if nothing runs, or computes wrongly.
    """
    generator = torch.Generator(device).manual_seed(0)
    experts = _random_experts(problem.shape, generator)
    tiles = candidate_tiles(torch.cuda.get_device_capability(device))
    entries = {}
    for num_tokens in tokens:
        x = torch.randn(
            num_tokens, problem.shape.hidden_size, generator=generator, device=device
        ).bfloat16()
        scores = torch.rand(num_tokens, problem.num_experts, generator=generator, device=device)
        ids = scores.topk(problem.top_k).indices  # of other ranks too: those numbers are left out
        weights = torch.rand(ids.shape, generator=generator, device=device)
        config, us = search(_Timer(x, experts, ids, weights), tiles)
        some = slice(CHECKED_TOKENS)
        found = triton_moe_int4(x, experts, ids, weights, config)[some].float()
        local = ids.masked_fill(ids >= problem.shape.num_local_experts, -1)
        expected = ref_moe_int4(x[some].float(), experts, local[some], weights[some])
        error = float((found - expected).norm() / expected.norm().clamp(min=1e-30))
        if not error <= LARGEST_ERROR:
            raise RuntimeError(f"{num_tokens} tokens, {config}: wrong result, error {error:.1e}")
        entries[num_tokens] = config_entry(config, us)
        tell(f"{num_tokens:6d} tokens: {us:9.1f} us  error {error:.1e}  {config}")
    return entries


class _Timer:
    """Times one product with a tile; infinity where it does not compile or fit."""

    def __init__(self, x: Tensor, experts: Int4Experts, ids: Tensor, weights: Tensor) -> None:
        self.x, self.experts, self.ids, self.weights = x, experts, ids, weights

    def __call__(self, product: Product, block_m: int, tile: Tile) -> float:
        blocks = blocks_of_pairs(self.ids, self.experts.num_local_experts, block_m)
        work = Int4Work(self.x, self.experts, blocks, self.ids.shape[1], self.weights)
        launch = work.gate_up(tile) if product == "gate_up" else work.down(tile)
        kernel = gate_up_kernel if product == "gate_up" else down_kernel
        try:
            compiled = kernel.warmup(*launch.arguments, grid=launch.grid, **launch.options)
            if "trap;" in compiled.asm["ptx"]:  # what Triton emits for what it cannot place
                return math.inf
            run = kernel[launch.grid]
            median_ms = triton.testing.do_bench(
                lambda: run(*launch.arguments, **launch.options), return_mode="median"
            )
        except triton.runtime.errors.TritonError as error:  # more shared memory than there is
            logger.debug("%s block_m=%d %s: %s", product, block_m, tile, error)
            return math.inf
        return 1e3 * float(median_ms)


def _random_experts(shape: ExpertsShape, generator: torch.Generator) -> Int4Experts:
    num, hidden, inter = (
        shape.num_local_experts,
        shape.hidden_size,
        shape.moe_intermediate_size,
    )
    device = generator.device

    def packed(*sizes: int) -> Tensor:
        return torch.randint(
            -(2**31), 2**31, sizes, dtype=torch.int32, device=device, generator=generator
        )

    def scale(*sizes: int) -> Tensor:
        values = torch.empty(sizes, dtype=torch.bfloat16, device=device)
        return values.uniform_(0.001, 0.01, generator=generator)

    return Int4Experts(
        w13=packed(num, 2 * inter, hidden // NIBBLES_PER_WORD),
        w13_scale=scale(num, 2 * inter, hidden // GROUP_SIZE),
        w2=packed(num, hidden, inter // NIBBLES_PER_WORD),
        w2_scale=scale(num, hidden, inter // GROUP_SIZE),
    )
