"""Choice of experts on the CPU, through SGLang's own argument for another way to choose."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from sglang_kimi.kernels.moe.sigmoid_routing import route_by_sigmoid

Route = Callable[[Tensor, Tensor, int, bool], tuple[Tensor, Tensor]]


def sigmoid_routing(correction_bias: Tensor) -> Route:
    """Return DeepSeek-V3's routing without groups, which SGLang's own form masks out at length.

    correction_bias: [n_routed_experts] float32; it chooses and does not weigh.
    """

    def route(
        hidden_states: Tensor, gating_output: Tensor, topk: int, renormalize: bool
    ) -> tuple[Tensor, Tensor]:
        """Return weights [num_tokens, topk] float32 and ids int32 from logits of all experts."""
        return route_by_sigmoid(gating_output, correction_bias, topk, renormalize=renormalize)

    return route
