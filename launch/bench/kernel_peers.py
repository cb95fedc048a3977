"""The same work as our CPU kernels do, in the best forms that torch offers."""

from copy import copy

import torch
from torch import Tensor

from sglang_kimi.kernels.moe.int4 import GROUP_SIZE, Int4Experts, unpack_int4


class Int4PackExperts:
    """Experts through `torch._weight_int4pack_mm_for_cpu`, an expert at a time.

    experts:  any; made anew in torch's own packing, which is not measured.
    distinct: from here on experts repeat the first ones, so their packing is copied: it takes long.
    Called with the arguments of `moe_int4`; computes in, and returns, bfloat16 or float32.
    """

    def __init__(self, experts: Int4Experts, distinct: int) -> None:
        num = experts.num_local_experts
        self._w13 = _all_packed(experts.w13[:distinct], experts.w13_scale, num)
        self._w2 = _all_packed(experts.w2[:distinct], experts.w2_scale, num)
        self._inter = experts.moe_intermediate_size
        self._dtype = torch.bfloat16

    def in_float32(self) -> "Int4PackExperts":
        """Return the same experts, the codes shared, for float32 products."""
        other = copy(self)
        other._dtype = torch.float32
        other._w13 = [(codes, scales.float()) for codes, scales in self._w13]
        other._w2 = [(codes, scales.float()) for codes, scales in self._w2]
        return other

    def __call__(self, x: Tensor, topk_ids: Tensor, topk_weights: Tensor) -> Tensor:
        """Apply the experts."""
        output = torch.zeros_like(x, dtype=self._dtype)
        tokens = x.to(self._dtype)
        for expert in torch.unique(topk_ids).tolist():
            rows, slots = (topk_ids == expert).nonzero(as_tuple=True)
            both = _multiply(tokens[rows], self._w13[expert])
            hidden = torch.nn.functional.silu(both[:, : self._inter]) * both[:, self._inter :]
            weights = topk_weights[rows, slots, None].to(self._dtype)
            output.index_add_(0, rows, _multiply(hidden, self._w2[expert]) * weights)
        return output


def _all_packed(words: Tensor, scales: Tensor, num: int) -> list[tuple[Tensor, Tensor]]:
    packed = [_packed(*pair) for pair in zip(words, scales[: len(words)], strict=True)]
    while len(packed) < num:
        codes, scale = packed[len(packed) - len(words)]
        packed.append((codes.clone(), scale.clone()))
    return packed


def _packed(words: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    codes = (unpack_int4(words) + 8).to(torch.int32)  # the op takes excess-8 codes
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
    zeros = torch.zeros_like(scale)
    return packed, torch.stack([scale, zeros], dim=-1).transpose(0, 1).contiguous()


def _multiply(x: Tensor, weight: tuple[Tensor, Tensor]) -> Tensor:
    product: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(
        x, weight[0], GROUP_SIZE, weight[1]
    )
    return product


def einsum_mla(query: Tensor, kv_cache: Tensor, slots: Tensor, scaling: float, rank: int) -> Tensor:
    """Absorbed MLA of one query token in float32; shapes as of `mla_absorbed`."""
    keys = kv_cache[slots].to(query.dtype)
    weights = torch.softmax(torch.einsum("thw,sw->ths", query, keys) * scaling, dim=-1)
    return torch.einsum("ths,sr->thr", weights, keys[:, :rank])


def sdpa_mla(query: Tensor, kv_cache: Tensor, slots: Tensor, scaling: float, rank: int) -> Tensor:
    """Return the same through torch's scaled_dot_product_attention."""
    keys = kv_cache[slots].to(query.dtype)
    output: Tensor = torch.nn.functional.scaled_dot_product_attention(
        query.transpose(0, 1), keys[None], keys[None, :, :rank], scale=scaling
    )
    return output.transpose(0, 1)
