"""The routed experts of one MoE layer as a SGLang-parallel module."""

from __future__ import annotations

import torch
from torch import Tensor

from .weights import ExpertWeights


class ExpertParallelInt4MoE(ExpertWeights):
    """This rank's share of `n_routed_experts` SwiGLU experts, applied to what it is given."""

    def forward(self, hidden_states: Tensor, topk_ids: Tensor, topk_weights: Tensor) -> Tensor:
        """Return this rank's part of the experts' weighted sum, to be summed over all ranks.

        hidden_states: [num_tokens, hidden_size]; topk_ids: [num_tokens, top_k] global expert
        numbers, below 0 = none; topk_weights: [num_tokens, top_k] float32 with the scaling factor.
        """
        if self.ep_size > 1:
            local = topk_ids - self.first_expert
            is_local = (local >= 0) & (local < self.num_local_experts)
            topk_ids = torch.where(is_local, local, -1)
        return self.run(hidden_states, topk_ids, topk_weights)
