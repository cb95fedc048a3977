"""How one rank holds its share of a MoE layer's routed experts, and loads it from the checkpoint.

Experts are split by `ep_rank`, each expert's intermediate dimension by `moe_tp_rank`. The packed
codes and scales stay as they are on disk.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from sglang.srt.runtime_context import get_parallel
from torch import Tensor, nn

from sglang_kimi.kernels.moe.int4 import GROUP_SIZE, Int4Experts

from ..checkpoint import NIBBLES_PER_WORD, CheckpointError
from .expert_location import local_experts

PROJECTIONS: Final = {"gate_proj": 0, "up_proj": 1, "down_proj": 2}


class ExpertWeights(nn.Module):
    """This rank's share of `n_routed_experts` SwiGLU experts.

    hidden_size, moe_intermediate_size: as in config.json; the latter divided by moe_tp_size must
    stay a multiple of the group size, else ValueError at construction.
    slots: the local numbers under which this rank holds an expert, by the checkpoint's number; more
    than one where the placement repeats it.
    """

    def __init__(self, config: Any, layer_id: int) -> None:
        super().__init__()
        parallel = get_parallel()
        self.tp_rank: int = parallel.moe_tp_rank
        self.tp_size: int = parallel.moe_tp_size
        held = local_experts(config.n_routed_experts, layer_id)
        self.num_local_experts = len(held)
        self.slots: dict[int, list[int]] = {}
        for slot, expert_id in enumerate(held):
            self.slots.setdefault(expert_id, []).append(slot)
        self.intermediate_size = intermediate_share(config)
        hidden, inter, num = config.hidden_size, self.intermediate_size, self.num_local_experts
        self.w13 = _parameter(num, 2 * inter, hidden // NIBBLES_PER_WORD, dtype=torch.int32)
        self.w13_scale = _parameter(num, 2 * inter, hidden // GROUP_SIZE, dtype=torch.bfloat16)
        self.w2 = _parameter(num, hidden, inter // NIBBLES_PER_WORD, dtype=torch.int32)
        self.w2_scale = _parameter(num, hidden, inter // GROUP_SIZE, dtype=torch.bfloat16)

    def packed(self) -> Int4Experts:
        """Return the weights as the kernels take them."""
        return Int4Experts(self.w13, self.w13_scale, self.w2, self.w2_scale)

    def wants(self, expert_id: int) -> bool:
        """Say whether this rank holds expert `expert_id` (global number)."""
        return expert_id in self.slots

    def load(self, expert_id: int, projection: str, kind: str, tensor: Tensor) -> None:
        """Copy this rank's slice of one whole checkpoint tensor.

        projection: gate_proj, up_proj or down_proj; kind: weight_packed, weight_scale or
        weight_shape (outputs and inputs, compared and not kept).
        """
        if kind == "weight_shape" and self.wants(expert_id):
            self._check_shape(expert_id, projection, tensor)
            return
        for slot in self.slots.get(expert_id, ()):
            self._part(slot, projection, kind).copy_(self._own_slice(projection, kind, tensor))

    def _check_shape(self, expert_id: int, projection: str, tensor: Tensor) -> None:
        wanted = [self.intermediate_size * self.tp_size, self.w2.shape[1]]
        if tensor.tolist() != (wanted[::-1] if projection == "down_proj" else wanted):
            raise CheckpointError(
                f"experts.{expert_id}.{projection}.weight_shape holds {tensor.tolist()}, "
                f"expected (outputs, inputs) of {wanted} or its reverse for down_proj"
            )

    def _own_slice(self, projection: str, kind: str, tensor: Tensor) -> Tensor:
        """Return this rank's rows of gate or up, columns of down."""
        width = self.intermediate_size
        if projection != "down_proj":
            return tensor[self.tp_rank * width : (self.tp_rank + 1) * width]
        width //= GROUP_SIZE if kind == "weight_scale" else NIBBLES_PER_WORD
        return tensor[:, self.tp_rank * width : (self.tp_rank + 1) * width]

    def _part(self, slot: int, projection: str, kind: str) -> Tensor:
        """Return where a stacked parameter keeps one projection of a local expert."""
        suffix = "_scale" if kind == "weight_scale" else ""
        if projection == "down_proj":
            return getattr(self, f"w2{suffix}").data[slot]  # type: ignore[no-any-return]
        start = PROJECTIONS[projection] * self.intermediate_size
        rows = slice(start, start + self.intermediate_size)
        return getattr(self, f"w13{suffix}").data[slot, rows]  # type: ignore[no-any-return]


def intermediate_share(config: Any) -> int:
    """Return this rank's part of every expert's width; ValueError where it cannot be split."""
    num_ranks = get_parallel().moe_tp_size
    value = config.moe_intermediate_size
    if value % (num_ranks * GROUP_SIZE):
        raise ValueError(
            f"moe_intermediate_size={value} cannot be split over {num_ranks} ranks in multiples of "
            f"{GROUP_SIZE}; use a --tp-size / --ep-size that divides it"
        )
    return int(value // num_ranks)


def _parameter(*shape: int, dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, dtype=dtype), requires_grad=False)
