"""The feed-forward part of a MoE layer: router, routed experts, shared expert."""

from __future__ import annotations

from typing import Any

import torch
from sglang.srt.layers.moe.topk import TopK, TopKOutputFormat
from sglang.srt.layers.moe.utils import is_moe_input_scattered_across_dp_ranks
from sglang.srt.models.deepseek_v2 import DeepseekV2MLP
from sglang.srt.utils import add_prefix
from torch import Tensor, nn

from sglang_kimi.kernels.linear.bf16 import bf16_linear

from ..cpu.mlp import CpuMLP
from ..cpu.register import serves_on_our_cpu
from ..cpu.routing import sigmoid_routing
from .layer import ExpertParallelInt4MoE


class KimiMoE(nn.Module):
    """Router, routed experts and shared expert of one layer.

    The output owes the sum over ranks, unless an all-to-all brought the experts' sums home: then
    every rank computes its own tokens in full, the shared expert's part too.
    """

    def __init__(self, config: Any, layer_id: int, prefix: str) -> None:
        super().__init__()
        self.routed_scaling_factor = config.routed_scaling_factor
        self.gate = KimiRouter(config)
        self.topk = TopK(
            top_k=config.num_experts_per_tok,
            layer_id=layer_id,
            renormalize=config.norm_topk_prob,
            **expert_choice(config, self.gate.e_score_correction_bias),
            scoring_func=config.scoring_func,
            correction_bias=self.gate.e_score_correction_bias,
            routed_scaling_factor=config.routed_scaling_factor,
            apply_routed_scaling_factor_on_output=False,
            output_format=TopKOutputFormat.STANDARD,
        )
        self.experts = ExpertParallelInt4MoE(config, layer_id, add_prefix("experts", prefix))
        is_whole = is_moe_input_scattered_across_dp_ranks()
        mlp_class = CpuMLP if serves_on_our_cpu() else DeepseekV2MLP
        self.shared_experts = mlp_class(
            hidden_size=config.hidden_size,
            intermediate_size=config.moe_intermediate_size * config.n_shared_experts,
            hidden_act=config.hidden_act,
            reduce_results=False,
            allow_fused_down=False,
            prefix=add_prefix("shared_experts", prefix),
            parallel_group="replicated" if is_whole else "tp",
        )

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return [num_tokens, hidden_size]; called on every rank, also without tokens."""
        if hidden_states.shape[0] == 0:
            routing = self.topk.empty_topk_output(hidden_states.device)
        else:
            routing = self.topk(hidden_states, self.gate(hidden_states))
        weights = routing.topk_weights.float() * self.routed_scaling_factor
        output: Tensor = self.experts(hidden_states, routing._replace(topk_weights=weights))
        return output.add_(self.shared_experts(hidden_states))


def expert_choice(config: Any, correction_bias: Tensor) -> dict[str, Any]:
    """Return TopK's arguments that say how experts are chosen."""
    if serves_on_our_cpu() and config.n_group == 1:
        return {"custom_routing_function": sigmoid_routing(correction_bias)}
    return {
        "use_grouped_topk": True,
        "num_expert_group": config.n_group,
        "topk_group": config.topk_group,
    }


class KimiRouter(nn.Module):
    """Score every expert in float32, as the model was trained.

    The weight is bf16 in the checkpoint: on the CPU it stays so, the product is the same.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        shape = (config.n_routed_experts, config.hidden_size)
        dtype = torch.bfloat16 if serves_on_our_cpu() else None
        self.weight = nn.Parameter(torch.empty(shape, dtype=dtype), requires_grad=False)
        self.e_score_correction_bias = nn.Parameter(
            torch.empty(config.n_routed_experts, dtype=torch.float32)
        )

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return logits [num_tokens, n_routed_experts] float32."""
        if hidden_states.is_cpu and self.weight.dtype == torch.bfloat16:
            return bf16_linear(hidden_states.float(), self.weight)
        return nn.functional.linear(hidden_states.float(), self.weight.float())
