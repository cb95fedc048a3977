"""Attention of long prompts with keys and values in full, where that is less work than absorbing.

The expanded keys of all tokens are held for one layer at a time; a step whose keys would take more
than MAX_BYTES stays with the absorbed form, which holds none.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from sglang_kimi.kernels.mla.expanded import expanded_is_cheaper, mla_expanded

MAX_BYTES: Final = 1 << 30


def expands(attention: Any, batch: Any) -> bool:
    """Say whether a step of one layer is better done with keys and values in full.

    attention: SGLang's MLA module of the layer; batch: its forward batch.
    """
    if not batch.forward_mode.is_extend_without_speculative() or not batch.extend_seq_lens_cpu:
        return False
    num_new, num_cached = sum(batch.extend_seq_lens_cpu), sum(batch.extend_prefix_lens_cpu)
    width = attention.qk_nope_head_dim + attention.v_head_dim + attention.qk_head_dim
    num_bytes = 4 * (num_new + num_cached) * attention.num_local_heads * width
    return num_bytes <= MAX_BYTES and expanded_is_cheaper(num_new, num_cached)


def attend_expanded(
    attention: Any, query: Tensor, latents: Tensor, batch: Any, kv_cache: Tensor, table: Tensor
) -> Tensor:
    """Attend a step's new tokens to all tokens of their sequences.

    attention: SGLang's MLA module, whose `kv_b_proj` expands the latents.
    query:     [num_tokens, num_heads, qk_head_dim] after rope, not absorbed.
    latents:   [num_tokens, kv_lora_rank + qk_rope_head_dim] of these tokens, in kv_cache too.
    kv_cache:  [num_slots, kv_lora_rank + qk_rope_head_dim], this layer's.
    table:     [num_requests, max_context_len], the rows of kv_cache of each request.

    Returns [num_tokens, num_heads, v_head_dim] in query's type.
    """
    if any(batch.extend_prefix_lens_cpu):
        requests, lens = batch.req_pool_indices.tolist(), batch.seq_lens.tolist()
        slots = torch.cat(
            [table[row, :seq_len] for row, seq_len in zip(requests, lens, strict=True)]
        )
        latents = kv_cache[slots].to(query.dtype)
    else:
        latents = latents[: sum(batch.extend_seq_lens_cpu)]  # rows after them are padding
    rank, nope = attention.kv_lora_rank, attention.qk_nope_head_dim
    both = attention.kv_b_proj(latents[:, :rank].contiguous())[0]
    both = both.view(latents.shape[0], attention.num_local_heads, nope + attention.v_head_dim)
    k_pe = latents[:, None, rank:].expand(-1, attention.num_local_heads, -1)
    return mla_expanded(
        query,
        torch.cat([both[..., :nope], k_pe], dim=-1),
        both[..., nope:],
        batch.seq_lens,
        batch.extend_seq_lens,
        scaling=attention.attn_mqa.scaling,
    )
