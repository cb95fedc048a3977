"""All layers of a step on one rank, a call of C++ each, past SGLang's stages.

The stages move tokens between ranks and add residuals; on one rank only the latter is left, and
the way through them takes 0.6 ms a layer, half of a small layer's arithmetic for one token.
"""

from __future__ import annotations

from typing import Any

import torch
from sglang.srt.layers.linear import LinearBase
from sglang.srt.model_executor.forward_context import get_attn_backend
from sglang.srt.runtime_context import get_exec, get_parallel
from sglang.srt.state_capturer.routed_experts import get_global_experts_capturer
from torch import Tensor

from sglang_kimi.kernels.decoder.layer import decoder_layer
from sglang_kimi.kernels.decoder.weights import DecoderWeights, MoeWeights
from sglang_kimi.kernels.native.library import native_library

from .dense import Bf16LinearMethod
from .long_prompt import expands
from .register import serves_on_our_cpu


class OneRankDecoder:
    """A model's layers as the kernel takes them, as long as their weights stay where they are.

    is_fit: whether any step can go this way; it stays so until the object is made anew.
    """

    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers
        self._weights = [_weights(layer) for layer in layers] if _is_one_plain_rank() else []
        self.is_fit = bool(self._weights) and all(map(_is_fit, layers, self._weights))

    def takes(self, hidden_states: Tensor, forward_batch: Any) -> bool:
        """Say whether a step of tokens [num_tokens, hidden_size] can go this way."""
        return (
            self.is_fit
            and hidden_states.dtype == torch.float32
            and hidden_states.shape[0] > 0
            and not forward_batch.forward_mode.is_idle()
            and not expands(self.layers[0].self_attn, forward_batch)
        )

    def run(
        self, hidden_states: Tensor, positions: Tensor, forward_batch: Any
    ) -> tuple[Tensor, Tensor]:
        """Return the last layer's output and the residual stream without it, both to be added."""
        backend = get_attn_backend()
        step = backend.mla_step(self.layers[0].self_attn, positions, forward_batch)
        hidden_states = hidden_states.clone(memory_format=torch.contiguous_format)
        residual = torch.zeros_like(hidden_states)
        for layer, weights in zip(self.layers, self._weights, strict=True):
            cache = backend.latent_cache(layer.self_attn.layer_id)
            decoder_layer(hidden_states, residual, weights, step, cache)
        return hidden_states, residual


def _is_one_plain_rank() -> bool:
    """Say whether no other rank has a part in a step, and nothing counts what is chosen in it."""
    parallel = get_parallel()
    return (
        serves_on_our_cpu()
        and native_library() is not None
        and parallel.tp_size * parallel.pp_size == 1
        and get_exec().moe.expert_distribution_recorder_mode is None
        and get_global_experts_capturer() is None
    )


def _is_fit(layer: Any, weights: DecoderWeights) -> bool:
    """Say whether the kernel has a layer's weights and nobody watches or changes its parts."""
    mlp = _dense_mlp(layer)
    attention = layer.self_attn
    linears = (attention.fused_qkv_a_proj_with_mqa, attention.q_b_proj, attention.o_proj)
    return (
        weights.native is not None
        and all(_is_plain(part) for part in (*linears, mlp.gate_up_proj, mlp.down_proj))
        and (weights.moe is None or layer.mlp.experts.stays_here)
        and not any(part._forward_hooks or part._forward_pre_hooks for part in layer.modules())
    )


def _dense_mlp(layer: Any) -> Any:
    """Return a dense layer's MLP, or the shared expert of one with routed experts."""
    return getattr(layer.mlp, "shared_experts", layer.mlp)


def _is_plain(linear: Any) -> bool:
    return isinstance(linear, LinearBase) and isinstance(linear.quant_method, Bf16LinearMethod)


def _weights(layer: Any) -> DecoderWeights:
    mlp = _dense_mlp(layer)
    return DecoderWeights(
        attention_norm=layer.input_layernorm.weight.float(),
        mlp_norm=layer.post_attention_layernorm.weight.float(),
        eps=layer.input_layernorm.variance_epsilon,
        qkv_a=layer.self_attn.fused_qkv_a_proj_with_mqa.weight,
        mla=layer.self_attn.absorbed_weights(),
        gate_up=mlp.gate_up_proj.weight,
        down=mlp.down_proj.weight,
        moe=_moe_weights(layer.mlp) if mlp is not layer.mlp else None,
    )


def _moe_weights(moe: Any) -> MoeWeights:
    choice = moe.topk.topk_config
    return MoeWeights(
        router=moe.gate.weight,
        correction_bias=moe.gate.e_score_correction_bias,
        experts=moe.experts.weights.packed(),
        top_k=choice.top_k,
        renormalize=choice.renormalize,
        scaling=moe.routed_scaling_factor,
    )
