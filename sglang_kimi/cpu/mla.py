"""MLA of one decoder layer on the CPU: SGLang's weights and cache, our way through them.

SGLang's own forward asks some forty questions about GPUs and batches per layer, and multiplies in
one type. Here bf16 weights meet float32 activations, and a step is as few operations as it needs.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from sglang.srt.layers.layer_boundary import get_attn_tp_context
from sglang.srt.mem_cache.memory_pool import KVWriteLoc
from sglang.srt.model_executor.forward_context import get_req_to_token_pool, get_token_to_kv_pool
from sglang.srt.models.deepseek_v2 import DeepseekV2AttentionMLA
from torch import Tensor

from sglang_kimi.kernels.linear.bf16 import bf16_bmm, bf16_linear
from sglang_kimi.kernels.mla.expanded import expanded_is_cheaper, mla_expanded

from .norm import CpuRMSNorm
from .rotary import rotate, rotations_at

MAX_EXPANDED_BYTES: Final = 1 << 30  # of keys and values at a time


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
        if _expands(forward_batch):
            values = self._attend_expanded(torch.cat([q_nope, q_pe], dim=-1), keys, forward_batch)
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

    def _attend_expanded(self, query: Tensor, keys: Tensor, forward_batch: Any) -> Tensor:
        """Return the same for long prompts, with the keys and values of every head in full.

        query: [num_tokens, num_heads, qk_head_dim]; keys as of `_attend_absorbed`.
        """
        rank = self.kv_lora_rank
        location = KVWriteLoc(forward_batch.out_cache_loc, None)
        get_token_to_kv_pool().set_kv_buffer(self.attn_mqa, location, keys, keys[..., :rank])
        latents = self._latents_of_all(keys, forward_batch)
        width = self.qk_nope_head_dim + self.v_head_dim
        weight = self.kv_b_proj.weight.view(-1, width, rank)
        bytes_per_head = 4 * latents.shape[0] * (self.qk_head_dim + width)
        at_once = max(1, MAX_EXPANDED_BYTES // bytes_per_head)
        starts = range(0, self.num_local_heads, at_once)
        heads = [slice(start, start + at_once) for start in starts]
        parts = [
            self._attend_heads(query[:, part], weight[part], latents, forward_batch)
            for part in heads
        ]
        return torch.cat(parts, dim=1)

    def _attend_heads(
        self, query: Tensor, weight: Tensor, latents: Tensor, forward_batch: Any
    ) -> Tensor:
        """Return some heads' part; weight: [num_heads, qk_nope_head_dim + v_head_dim, rank]."""
        num_heads, width, rank = weight.shape
        expanded = bf16_linear(latents[:, :rank], weight.flatten(0, 1))
        k_nope, value = expanded.view(-1, num_heads, width).split(
            [self.qk_nope_head_dim, self.v_head_dim], dim=-1
        )
        k_pe = latents[:, None, rank:].expand(-1, num_heads, -1)
        return mla_expanded(
            query,
            torch.cat([k_nope, k_pe], dim=-1),
            value,
            forward_batch.seq_lens,
            forward_batch.extend_seq_lens,
            scaling=self.attn_mqa.scaling,
        )

    def _latents_of_all(self, keys: Tensor, forward_batch: Any) -> Tensor:
        """Return [num_keys, width], latents of all tokens of the sequences, cached ones too."""
        if not any(forward_batch.extend_prefix_lens_cpu):
            return keys[: sum(forward_batch.extend_seq_lens_cpu), 0]
        cache = get_token_to_kv_pool().get_key_buffer(self.attn_mqa.layer_id)
        table = get_req_to_token_pool().req_to_token
        rows, lens = forward_batch.req_pool_indices.tolist(), forward_batch.seq_lens.tolist()
        slots = [table[row, :length] for row, length in zip(rows, lens, strict=True)]
        latents: Tensor = cache.view(cache.shape[0], -1)[torch.cat(slots)].to(keys.dtype)
        return latents


def _expands(forward_batch: Any) -> bool:
    """Say whether a step's keys and values are better expanded than its queries absorbed."""
    mode = forward_batch.forward_mode
    if not mode.is_extend_without_speculative():
        return False
    new, cached = forward_batch.extend_seq_lens_cpu, forward_batch.extend_prefix_lens_cpu
    return expanded_is_cheaper(sum(new), sum(cached))
