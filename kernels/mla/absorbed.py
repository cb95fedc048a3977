"""Absorbed MLA: the one place that picks its backend.

On the CPU the C++ kernel where it runs (see `native.library`), else plain torch on any device.
"""

import torch
from torch import Tensor

from ..native.library import native_library
from .absorbed_native import can_run, native_mla_absorbed_batch
from .absorbed_reference import check_batch, ref_mla_absorbed_batch


def mla_absorbed_batch(
    query: Tensor,
    kv_cache: Tensor,
    req_to_token: Tensor,
    req_pool_indices: Tensor,
    seq_lens: Tensor,
    query_lens: Tensor | None = None,
    *,
    scaling: float,
    kv_lora_rank: int,
) -> Tensor:
    """Attend the last tokens of every sequence of a step, causally, to all of their sequence.

    One call serves decoding (one token a sequence), draft tokens of a speculative step and prompts
    with a cached prefix (several tokens at the sequence's end).

    query:            [num_tokens, num_heads, kv_lora_rank + qk_rope_head_dim], sequence after
                      sequence; token i of a sequence stands at seq_len - query_len + i. Tokens
                      after those of all sequences are padding and give zeros.
    kv_cache:         [num_slots, kv_lora_rank + qk_rope_head_dim], any float dtype; the new
                      tokens are in it already.
    req_to_token:     [num_requests, max_context_len] int32 or int64, rows of kv_cache in order.
    req_pool_indices: [batch] int, each sequence's row of req_to_token.
    seq_lens:         [batch] int, tokens of each sequence, its new ones included.
    query_lens:       [batch] int, new tokens of each; None: one each.

    Returns [num_tokens, num_heads, kv_lora_rank] in query's type; sums in float32.
    Raises ValueError naming the argument that does not fit.
    """
    num_tokens = check_batch(query, kv_cache, req_to_token, req_pool_indices, seq_lens, query_lens)
    num_padding = query.shape[0] - num_tokens
    query = query[:num_tokens]
    lengths = (req_to_token, req_pool_indices, seq_lens, query_lens)
    if can_run(query, kv_cache, req_to_token, kv_lora_rank) and (library := native_library()):
        output = native_mla_absorbed_batch(
            library, query, kv_cache, *lengths, scaling=scaling, kv_lora_rank=kv_lora_rank
        )
    else:
        output = ref_mla_absorbed_batch(
            query, kv_cache, *lengths, scaling=scaling, kv_lora_rank=kv_lora_rank
        )
    return torch.nn.functional.pad(output, (0, 0, 0, 0, 0, num_padding)) if num_padding else output


def mla_absorbed(
    query: Tensor, kv_cache: Tensor, slots: Tensor, *, scaling: float, kv_lora_rank: int
) -> Tensor:
    """Attend the last tokens of one sequence to all of it; `mla_absorbed_batch` for a batch of one.

    slots: [seq_len] int, the sequence's rows of kv_cache in order, its own tokens included.
    """
    return mla_absorbed_batch(
        query,
        kv_cache,
        slots.unsqueeze(0),
        slots.new_zeros(1),
        slots.new_full((1,), slots.shape[0]),
        slots.new_full((1,), query.shape[0]),
        scaling=scaling,
        kv_lora_rank=kv_lora_rank,
    )
