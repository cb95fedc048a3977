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

PROJECTIONS: Final = {"gate_proj": 0, "up_proj": 1, "down_proj": 2}


class ExpertWeights(nn.Module):
    """This rank's share of `n_routed_experts` SwiGLU experts.

    hidden_size, moe_intermediate_size: as in config.json; the latter divided by moe_tp_size must
    stay a multiple of the group size, else ValueError at construction.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        parallel = get_parallel()
        self.ep_rank: int = parallel.moe_ep_rank
        self.ep_size: int = parallel.moe_ep_size
        self.tp_rank: int = parallel.moe_tp_rank
        self.tp_size: int = parallel.moe_tp_size
        self.num_local_experts: int = self._share(config, "n_routed_experts", self.ep_size, 1)
        self.first_expert: int = self.ep_rank * self.num_local_experts
        self.intermediate_size = self._share(
            config, "moe_intermediate_size", self.tp_size, GROUP_SIZE
        )
        hidden, inter, num = config.hidden_size, self.intermediate_size, self.num_local_experts
        self.w13 = _parameter(num, 2 * inter, hidden // NIBBLES_PER_WORD, dtype=torch.int32)
        self.w13_scale = _parameter(num, 2 * inter, hidden // GROUP_SIZE, dtype=torch.bfloat16)
        self.w2 = _parameter(num, hidden, inter // NIBBLES_PER_WORD, dtype=torch.int32)
        self.w2_scale = _parameter(num, hidden, inter // GROUP_SIZE, dtype=torch.bfloat16)

    @staticmethod
    def _share(config: Any, key: str, num_ranks: int, multiple: int) -> int:
        value = getattr(config, key)
        if value % (num_ranks * multiple):
            raise ValueError(
                f"{key}={value} cannot be split over {num_ranks} ranks in multiples of {multiple}; "
                "use a --tp-size / --ep-size that divides it"
            )
        return int(value // num_ranks)

    def packed(self) -> Int4Experts:
        """Return the weights as the kernels take them."""
        return Int4Experts(self.w13, self.w13_scale, self.w2, self.w2_scale)

    def wants(self, expert_id: int) -> bool:
        """Say whether this rank holds expert `expert_id` (global number)."""
        return 0 <= expert_id - self.first_expert < self.num_local_experts

    def load(self, expert_id: int, projection: str, kind: str, tensor: Tensor) -> None:
        """Copy this rank's slice of one whole checkpoint tensor.

        projection: gate_proj, up_proj or down_proj; kind: weight_packed, weight_scale or
        weight_shape (outputs and inputs, compared and not kept).
        """
        if not self.wants(expert_id):
            return
        local = expert_id - self.first_expert
        inter, hidden = self.intermediate_size, self.w2.shape[1]
        if kind == "weight_shape":
            wanted = [inter * self.tp_size, hidden]
            if tensor.tolist() != (wanted[::-1] if projection == "down_proj" else wanted):
                raise CheckpointError(
                    f"experts.{expert_id}.{projection}.weight_shape holds {tensor.tolist()}, "
                    f"expected (outputs, inputs) of {wanted} or its reverse for down_proj"
                )
            return
        suffix = "_scale" if kind == "weight_scale" else ""
        if projection == "down_proj":
            per_element = GROUP_SIZE if suffix else NIBBLES_PER_WORD
            width = inter // per_element
            source = tensor[:, self.tp_rank * width : (self.tp_rank + 1) * width]
            getattr(self, f"w2{suffix}").data[local].copy_(source)
        else:
            start = PROJECTIONS[projection] * inter
            source = tensor[self.tp_rank * inter : (self.tp_rank + 1) * inter]
            getattr(self, f"w13{suffix}").data[local, start : start + inter].copy_(source)


def _parameter(*shape: int, dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, dtype=dtype), requires_grad=False)
