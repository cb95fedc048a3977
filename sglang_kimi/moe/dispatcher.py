"""SGLang's dispatcher form of our all-to-all: `--moe-a2a-backend customized`.

Tokens stay on the rank whose attention made them, and only those that need an expert elsewhere
travel. It runs over whatever torch.distributed runs over: gloo on the CPU, NCCL on GPUs (never run
there).
"""

from __future__ import annotations

from typing import Any

from sglang.srt.layers.moe.token_dispatcher.base import BaseDispatcher
from sglang.srt.layers.moe.token_dispatcher.standard import (
    StandardCombineInput,
    StandardDispatchOutput,
)
from sglang.srt.layers.moe.utils import get_moe_a2a_backend
from sglang.srt.runtime_context import get_parallel
from torch import Tensor

from ..seams import require, substitute
from .all_to_all import ReceivedTokens, combine, dispatch


class AllToAllDispatcher(BaseDispatcher):  # type: ignore[misc]
    """Exchange tokens between the ranks of the expert-parallel group."""

    def __init__(self, num_local_experts: int) -> None:
        super().__init__()
        self.num_local_experts = num_local_experts
        self.group = get_parallel().moe_ep_group.device_group
        self.received: ReceivedTokens | None = None

    def dispatch(self, hidden_states: Tensor, topk_output: Any) -> StandardDispatchOutput:
        """Return the tokens that this rank's experts are wanted for, with local expert numbers."""
        received = dispatch(
            hidden_states,
            topk_output.topk_ids,
            topk_output.topk_weights,
            num_local_experts=self.num_local_experts,
            group=self.group,
        )
        self.received = received
        routing = topk_output._replace(
            topk_ids=received.topk_ids, topk_weights=received.topk_weights
        )
        return StandardDispatchOutput(
            hidden_states=received.hidden_states, hidden_states_scale=None, topk_output=routing
        )

    def combine(self, combine_input: StandardCombineInput) -> Tensor:
        """Return this rank's own tokens, complete."""
        assert self.received is not None, "combine follows dispatch"
        received, self.received = self.received, None
        return combine(combine_input.hidden_states, received, self.group)


def offer_dispatcher() -> None:
    """Let SGLang's MoE layer build ours where the backend is `customized`."""
    in_tree = require("moe_dispatcher")

    def create(moe_runner_config: Any, quant_method: Any) -> Any:
        if get_moe_a2a_backend().is_customized():
            return AllToAllDispatcher(moe_runner_config.num_local_experts)
        return in_tree(moe_runner_config, quant_method)

    substitute("moe_dispatcher", create)


offer_dispatcher()
