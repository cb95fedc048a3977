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

from sglang_kimi.kernels.linear.bf16 import bf16_bmm

from .long_prompt import expands
from .norm import CpuRMSNorm
from .rotary import rotate, rotations_at


class CpuAttentionMLA(DeepseekV2AttentionMLA):  # type: ignore[misc]
    """Absorbed MLA over the latent cache, in the place of SGLang's class of the same weights."""

    def __init__(self, config: Any, **arguments: Any) -> None:
        super().__init__(config=config, **arguments)
        self.q_a_layernorm = CpuRMSNorm(self.q_lora_rank, eps=config.rms_norm_eps)
        self.kv_a_layernorm = CpuRMSNorm(self.kv_lora_rank, eps=config.rms_norm_eps)

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
        latent = get_attn_tp_context().fetch_qkv_latent()
        sizes = [self.q_lora_rank, self.kv_lora_rank, self.qk_rope_head_dim]
        q_lora, k_nope, k_pe = latent.split(sizes, dim=-1)
        query = self.q_b_proj(self.q_a_layernorm(q_lora))[0]
        query = query.view(-1, self.num_local_heads, self.qk_head_dim)
        q_nope, q_pe = query.split([self.qk_nope_head_dim, self.qk_rope_head_dim], dim=-1)
        rotations = rotations_at(positions, self.rotary_emb.cos_sin_cache)
        q_pe = rotate(q_pe, rotations)
        k_nope = self.kv_a_layernorm(k_nope)
        keys = torch.cat([k_nope.unsqueeze(1), rotate(k_pe.unsqueeze(1), rotations)], dim=-1)
        if expands(self, forward_batch):
            query = torch.cat([q_nope, q_pe], dim=-1)
            backend = get_attn_backend()
            values = backend.forward_expanded(self, query, keys.squeeze(1), forward_batch)
        else:
            values = self._attend_absorbed(q_nope, q_pe, keys, forward_batch)
        output: Tensor = self.o_proj(values.flatten(1))[0]
        return output

    def _attend_absorbed(
        self, q_nope: Tensor, q_pe: Tensor, keys: Tensor, forward_batch: Any
    ) -> Tensor:
        """Return [num_tokens, num_heads, v_head_dim] over the latents in the cache.

        keys: [num_tokens, 1, kv_lora_rank + qk_rope_head_dim], this step's; they are written first.
        """
        rank = self.kv_lora_rank
        q_nope = bf16_bmm(q_nope.transpose(0, 1), self.w_kc).transpose(0, 1)
        query = torch.cat([q_nope, q_pe], dim=-1)
        attended = self.attn_mqa(query, keys, keys[..., :rank], forward_batch)
        attended = attended.view(-1, self.num_local_heads, rank).transpose(0, 1)
        return bf16_bmm(attended, self.w_vc).transpose(0, 1)
