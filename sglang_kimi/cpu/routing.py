"""Choice of experts on the CPU, through SGLang's own argument for another way to choose."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

EPSILON = 1e-20  # as in the release's code, against a division by nothing
Route = Callable[[Tensor, Tensor, int, bool], tuple[Tensor, Tensor]]


def sigmoid_routing(correction_bias: Tensor) -> Route:
    """Return DeepSeek-V3's routing without groups, which SGLang's own form masks out at length.

    correction_bias: [n_routed_experts] float32; it chooses and does not weigh.
    """

    def route(
        hidden_states: Tensor, gating_output: Tensor, topk: int, renormalize: bool
    ) -> tuple[Tensor, Tensor]:
        """Return weights [num_tokens, topk] float32 and ids int32 from logits of all experts."""
        scores = gating_output.float().sigmoid()
        ids = torch.topk(scores + correction_bias, topk, dim=-1, sorted=False).indices
        weights = scores.gather(1, ids)
        if renormalize:
            weights = weights / (weights.sum(dim=-1, keepdim=True) + EPSILON)
        return weights, ids.to(torch.int32)

    return route
