"""The Triton kernels of the INT4 experts under Triton's interpreter, see `JsonProcess`.

A program of its own: Triton reads TRITON_INTERPRET when it is imported.
"""

import json
import os
import sys
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch import Tensor
from torch.nn.functional import silu

from sglang_kimi.kernels.moe.int4 import Int4Experts, dequantize_int4
from sglang_kimi.kernels.moe.int4_configs import Int4Config, Tile
from sglang_kimi.kernels.moe.int4_triton import triton_moe_int4, triton_moe_int4_masked


def make_experts(num: int, hidden: int, inter: int, generator: torch.Generator) -> Int4Experts:
    def packed(*shape: int) -> Tensor:
        return torch.randint(-(2**31), 2**31, shape, generator=generator).int()

    def scale(*shape: int) -> Tensor:
        return (0.01 + 0.05 * torch.rand(shape, generator=generator)).bfloat16()

    return Int4Experts(
        w13=packed(num, 2 * inter, hidden // 8),
        w13_scale=scale(num, 2 * inter, hidden // 32),
        w2=packed(num, hidden, inter // 8),
        w2_scale=scale(num, hidden, inter // 32),
    )


def make_ids(routing: str, num_tokens: int, num: int, top_k: int, generator: Any) -> Tensor:
    ids = torch.rand(num_tokens, num, generator=generator).topk(top_k).indices
    if routing == "none":
        return torch.full_like(ids, -1)
    if routing == "one":
        return torch.full_like(ids, num - 1)
    if routing == "holes":  # other ranks' experts, and numbers that no rank has
        holes = torch.rand(ids.shape, generator=generator)
        return ids.masked_fill(holes < 0.4, -1).masked_fill(holes > 0.9, num + 3)
    return ids


def exact(x: Tensor, experts: Int4Experts, expert_id: int) -> Tensor:
    """Return one expert's output for rows x in float64."""
    w13 = dequantize_int4(experts.w13[expert_id], experts.w13_scale[expert_id]).double()
    w2 = dequantize_int4(experts.w2[expert_id], experts.w2_scale[expert_id]).double()
    gate, up = (x.double() @ w13.T).chunk(2, dim=-1)
    return (silu(gate) * up) @ w2.T


def errors(found: Tensor, expected: Tensor) -> dict[str, float]:
    """Return the largest difference over the largest value, and the same of the norms."""
    assert found.dtype == torch.bfloat16
    assert found.shape == expected.shape
    if not expected.any():
        return {"max": float(found.double().abs().sum()), "norm": 0.0}
    difference = found.double() - expected
    return {
        "max": float(difference.abs().max() / expected.abs().max()),
        "norm": float(difference.norm() / expected.norm()),
    }


def config(block_m: int, block_n: int, block_words: int) -> Int4Config:
    return Int4Config(
        block_m,
        gate_up=Tile(block_n, block_words, num_warps=4, num_stages=2),
        down=Tile(2 * block_n, block_words // 2, num_warps=4, num_stages=2),
    )


def routed(
    shape: list[int], routing: str = "random", tile: list[int] | None = None, seed: int = 0
) -> dict[str, float]:
    """Return the errors of one call; shape: tokens, hidden, intermediate, experts, top-k."""
    num_tokens, hidden, inter, num, top_k = shape
    generator = torch.Generator().manual_seed(seed)
    experts = make_experts(num, hidden, inter, generator)
    x = torch.randn(num_tokens, hidden, generator=generator).bfloat16()
    ids = make_ids(routing, num_tokens, num, top_k, generator)
    weights = torch.rand(ids.shape, generator=generator)
    expected = torch.zeros(num_tokens, hidden, dtype=torch.float64)
    for expert_id in range(num):
        weight = (weights.double() * (ids == expert_id)).sum(dim=1, keepdim=True)
        expected += weight * exact(x, experts, expert_id)
    found = triton_moe_int4(x, experts, ids, weights, tile and config(*tile))
    return errors(found, expected)


def masked(
    num_rows: list[int], max_rows: int, hidden: int, inter: int, tile: list[int]
) -> dict[str, float]:
    """Return the errors over the filled rows of a table, the others being infinite."""
    generator = torch.Generator().manual_seed(1)
    experts = make_experts(len(num_rows), hidden, inter, generator)
    x = torch.randn(len(num_rows), max_rows, hidden, generator=generator).bfloat16()
    for expert_id, count in enumerate(num_rows):
        x[expert_id, count:] = torch.inf
    found = triton_moe_int4_masked(x, experts, torch.tensor(num_rows).int(), 2, config(*tile))
    filled = [(e, count) for e, count in enumerate(num_rows) if count]
    return errors(
        torch.cat([found[e, :count] for e, count in filled]),
        torch.cat([exact(x[e, :count], experts, e) for e, count in filled]),
    )


def main() -> None:
    """Serve until standard input ends."""
    torch.set_num_threads(1)
    verbs = {"routed": routed, "masked": masked}
    for line in sys.stdin:
        verb, *values = json.loads(line)
        print(json.dumps(verbs[verb](*values)), flush=True)


if __name__ == "__main__":
    main()
