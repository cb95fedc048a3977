"""Random INT4 experts and tokens of `bench kernels`, the same in every process that asks."""

from typing import Final

import torch
from torch import Tensor

from sglang_kimi.kernels.moe.int4 import GROUP_SIZE, Int4Experts, dequantize_int4

Routed = tuple[Tensor, Tensor, Tensor]  # x, topk_ids, topk_weights

TOP_K: Final = 8
DISTINCT: Final = 16  # experts; more of them repeat these, each in memory of its own
TURNS: Final = 4  # batches of tokens in turn, so that L3 does not help


def random_experts(hidden: int, inter: int, num: int) -> Int4Experts:
    """Return `num` experts, `DISTINCT` of them at most different."""
    generator = torch.Generator().manual_seed(hidden + num)
    distinct = min(num, DISTINCT)

    def words(*shape: int) -> Tensor:
        return every(torch.randint(-(2**31), 2**31, shape, dtype=torch.int32, generator=generator))

    def scales(*shape: int) -> Tensor:
        return every((0.001 + 0.02 * torch.rand(shape, generator=generator)).bfloat16())

    def every(few: Tensor) -> Tensor:
        return few.repeat(-(-num // distinct), 1, 1)[:num]

    return Int4Experts(
        w13=words(distinct, 2 * inter, hidden // 8),
        w13_scale=scales(distinct, 2 * inter, hidden // GROUP_SIZE),
        w2=words(distinct, hidden, inter // 8),
        w2_scale=scales(distinct, hidden, inter // GROUP_SIZE),
    )


def routed(hidden: int, num: int, num_tokens: int, seed: int) -> Routed:
    """Return float32 tokens, the experts of each (int32) and their weights (float32)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_tokens, hidden, generator=generator)
    scores = torch.rand(num_tokens, num, generator=generator)
    return x, scores.topk(TOP_K).indices.int(), torch.rand(num_tokens, TOP_K, generator=generator)


def exact_first(experts: Int4Experts, x: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    """Return the first token's output in float64."""
    output = torch.zeros(1, x.shape[1], dtype=torch.float64)
    for expert, weight in zip(ids[0].tolist(), weights[0].tolist(), strict=True):
        both = (
            dequantize_int4(experts.w13[expert], experts.w13_scale[expert]).double() @ x[0].double()
        )
        gate, up = both.chunk(2)
        w2 = dequantize_int4(experts.w2[expert], experts.w2_scale[expert]).double()
        output += weight * (w2 @ (torch.nn.functional.silu(gate) * up))
    return output
