"""MLA of one decoder layer on the CPU: SGLang's weights and cache, our way through them.

SGLang's own forward asks some forty questions about GPUs and batches per layer, and multiplies in
one type. Here bf16 weights meet float32 activations, and a step is as few operations as it needs.
"""

from __future__ import annotations

from typing import Any

import torch
from sglang.srt.layers.layer_boundary import get_attn_tp_context
from sglang.srt.model_executor.forward_context import get_attn_backend
from sglang.srt.models.deepseek_v2 import DeepseekV2AttentionMLA
from torch import Tensor

from sglang_kimi.kernels.linear.bf16 import bf16_linear
from sglang_kimi.kernels.mla.layer import MlaWeights
from sglang_kimi.kernels.mla.rotary import rotate, rotations_at

from .long_prompt import expands
from .norm import CpuRMSNorm


class CpuAttentionMLA(DeepseekV2AttentionMLA):  # type: ignore[misc]
    """Absorbed MLA over the latent cache, in the place of SGLang's class of the same weights."""

    def __init__(self, config: Any, **arguments: Any) -> None:
        super().__init__(config=config, **arguments)
        self.q_a_layernorm = CpuRMSNorm(self.q_lora_rank, eps=config.rms_norm_eps)
        self.kv_a_layernorm = CpuRMSNorm(self.kv_lora_rank, eps=config.rms_norm_eps)
        self._absorbed_weights: MlaWeights | None = None

    def prepare_qkv_latent(self, hidden_states: Tensor, forward_batch: Any) -> Tensor:
        """Return [num_tokens, q_lora_rank + kv_lora_rank + qk_rope_head_dim], not normed."""
        return bf16_linear(hidden_states, self.fused_qkv_a_proj_with_mqa.weight)

    def forward(
        self,
        positions: Tensor,
        hidden_states: Tensor,
        forward_batch: Any,
        zero_allocator: Any,
        input_on_attn_tp_slices: bool = False,
    ) -> Tensor:
        """Return [num_tokens, hidden_size], this rank's part; see the class replaced."""
        if hidden_states.shape[0] == 0:
            return hidden_states
        latents = get_attn_tp_context().fetch_qkv_latent()
        backend = get_attn_backend()
        if not expands(self, forward_batch):
            attended: Tensor = backend.forward_layer(self, latents, positions, forward_batch)
            return attended
        sizes = [self.q_lora_rank, self.kv_lora_rank, self.qk_rope_head_dim]
        q_lora, k_nope, k_pe = latents.split(sizes, dim=-1)
        query = bf16_linear(self.q_a_layernorm(q_lora), self.q_b_proj.weight)
        query = query.view(-1, self.num_local_heads, self.qk_head_dim)
        rotations = rotations_at(positions, self.rotary_emb.cos_sin_cache)
        q_pe = query[..., self.qk_nope_head_dim :]
        q_pe.copy_(rotate(q_pe, rotations))
        k_pe = rotate(k_pe.unsqueeze(1), rotations).squeeze(1)
        keys = torch.cat([self.kv_a_layernorm(k_nope), k_pe], dim=-1)
        values = backend.forward_expanded(self, query, keys, forward_batch)
        return bf16_linear(values.flatten(1), self.o_proj.weight)

    def absorbed_weights(self) -> MlaWeights:
        """Return what the absorbed form takes; made anew where a loader replaced the factors."""
        if self._absorbed_weights is None or self._absorbed_weights.w_kc is not self.w_kc:
            self._absorbed_weights = MlaWeights(
                q_norm=self.q_a_layernorm.weight.float(),
                kv_norm=self.kv_a_layernorm.weight.float(),
                q_b=self.q_b_proj.weight,
                w_kc=self.w_kc,
                w_vc=self.w_vc,
                o=self.o_proj.weight,
                rope_dim=self.qk_rope_head_dim,
                eps=self.q_a_layernorm.variance_epsilon,
                scaling=self.attn_mqa.scaling,
            )
        return self._absorbed_weights
