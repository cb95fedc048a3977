"""The routed experts of one MoE layer: SGLang's layer around our weights and kernels.

SGLang brings the dispatchers (standard, DeepEP and its kin, our all-to-all as `customized`) and
the placement of redundant experts; weights, loading and kernels are ours.
"""

from __future__ import annotations

from typing import Any

import torch
from sglang.srt.layers.moe.fused_moe_triton.layer import FusedMoE
from sglang.srt.layers.moe.utils import get_moe_a2a_backend
from torch import Tensor

from . import dispatcher  # noqa: F401  before SGLang builds a layer
from .expert_location import num_physical_experts
from .runner import Int4ExpertsMethod
from .weights import ExpertWeights, intermediate_share


class ExpertParallelInt4MoE(FusedMoE):  # type: ignore[misc]
    """`n_routed_experts` INT4 SwiGLU experts, split over ranks.

    Call it with (hidden_states [num_tokens, hidden_size], SGLang's routing of them, whose weights
    include the scaling factor). It returns [num_tokens, hidden_size]: with the standard dispatcher
    this rank's part, to be summed over all ranks; with an all-to-all the whole sum.
    Raises ValueError at construction where the experts cannot be split over the ranks.
    """

    weights: ExpertWeights

    def __init__(self, config: Any, layer_id: int, prefix: str = "") -> None:
        intermediate_share(config)
        super().__init__(
            num_experts=num_physical_experts(config.n_routed_experts),
            hidden_size=config.hidden_size,
            intermediate_size=config.moe_intermediate_size,
            layer_id=layer_id,
            top_k=config.num_experts_per_tok,
            quant_method=Int4ExpertsMethod(config),
            prefix=prefix,
            inplace=False,
        )
        self.stays_here = (
            self.moe_ep_size == 1
            and get_moe_a2a_backend().is_none()
            and torch.get_default_device().type == "cpu"
        )

    def forward(self, hidden_states: Tensor, topk_output: Any, *args: Any) -> Tensor:
        """Run the experts; at once where no token is dispatched and no graph is captured.

        SGLang's way to the same call takes 0.1 ms, about what the experts of one token take.
        """
        if self.stays_here:
            return self.weights.run(hidden_states, topk_output.topk_ids, topk_output.topk_weights)
        output: Tensor = super().forward(hidden_states, topk_output, *args)
        return output

    def load(self, expert_id: int, projection: str, kind: str, tensor: Tensor) -> None:
        """Take this rank's part of one checkpoint tensor, as `ExpertWeights.load` does."""
        self.weights.load(expert_id, projection, kind, tensor)
