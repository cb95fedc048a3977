"""softmax(scaling * q k^T) k[:, :kv_lora_rank]: absorbed MLA of one sequence in plain torch.

Memory is bounded: queries are taken in blocks whose score matrix stays under MAX_SCORES floats.
Source: DeepSeek-V2 report, section 2.1 (absorption); cache layout as in SGLang's MLA pool.
"""

import torch
from torch import Tensor

MAX_SCORES = 16 * 1024 * 1024  # floats, 64 MB: larger blocks gained nothing on two cores


def ref_mla_absorbed(
    query: Tensor, kv_cache: Tensor, slots: Tensor, *, scaling: float, kv_lora_rank: int
) -> Tensor:
    """Attend the last tokens of one sequence, causally, to all of it.

    query:    [num_tokens, num_heads, kv_lora_rank + qk_rope_head_dim]; token i stands at position
              seq_len - num_tokens + i.
    kv_cache: [num_slots, kv_lora_rank + qk_rope_head_dim], any float dtype.
    slots:    [seq_len] int, the sequence's rows of kv_cache in order, its own tokens included.

    Returns [num_tokens, num_heads, kv_lora_rank] in query's dtype; the sums run in float32.
    """
    num_tokens, num_heads, width = query.shape
    seq_len = slots.shape[0]
    keys = kv_cache[slots].float()  # [seq_len, kv_lora_rank + qk_rope_head_dim]
    values = keys[:, :kv_lora_rank]
    output = query.new_empty(num_tokens, num_heads, kv_lora_rank)
    block = max(1, MAX_SCORES // (num_heads * seq_len))
    for start in range(0, num_tokens, block):
        part = query[start : start + block].reshape(-1, width).float() * scaling
        visible = seq_len - num_tokens + min(start + block, num_tokens)
        scores = part @ keys[:visible].T  # [block * num_heads, visible]
        if num_tokens > 1:
            mask_future_(scores.view(-1, num_heads, visible), seq_len - num_tokens + start)
        probabilities = torch.softmax(scores, dim=-1)
        output[start : start + block] = (probabilities @ values[:visible]).view(
            -1, num_heads, kv_lora_rank
        )
    return output


def ref_mla_absorbed_batch(
    query: Tensor,
    kv_cache: Tensor,
    req_to_token: Tensor,
    req_pool_indices: Tensor,
    seq_lens: Tensor,
    query_lens: Tensor | None,
    *,
    scaling: float,
    kv_lora_rank: int,
) -> Tensor:
    """Compute `absorbed.mla_absorbed_batch` sequence by sequence; the same arguments and result."""
    counts = [1] * seq_lens.shape[0] if query_lens is None else query_lens.tolist()
    output = query.new_empty(*query.shape[:2], kv_lora_rank)
    start = 0
    for row, seq_len, count in zip(
        req_pool_indices.tolist(), seq_lens.tolist(), counts, strict=True
    ):
        output[start : start + count] = ref_mla_absorbed(
            query[start : start + count],
            kv_cache,
            req_to_token[row, :seq_len],
            scaling=scaling,
            kv_lora_rank=kv_lora_rank,
        )
        start += count
    return output


def check_batch(
    query: Tensor,
    kv_cache: Tensor,
    req_to_token: Tensor,
    req_pool_indices: Tensor,
    seq_lens: Tensor,
    query_lens: Tensor | None,
) -> int:
    """Return how many of query's tokens are of sequences, the rest being padding.

    Raises ValueError unless the arguments of `absorbed.mla_absorbed_batch` fit each other. On a GPU
    only shapes are looked at, and no padding is expected: reading lengths would stall it.
    """
    if query.dim() != 3 or kv_cache.dim() != 2 or kv_cache.shape[1] != query.shape[2]:
        want = "want query [num_tokens, num_heads, width], kv_cache [num_slots, width]"
        raise ValueError(f"{want}, got {[*query.shape]} and {[*kv_cache.shape]}")
    return check_sequences(query.shape[0], req_to_token, req_pool_indices, seq_lens, query_lens)


def check_sequences(
    num_tokens: int,
    req_to_token: Tensor,
    req_pool_indices: Tensor,
    seq_lens: Tensor,
    query_lens: Tensor | None,
) -> int:
    """Return what `check_batch` does and raise as it does, without a query."""
    batch = seq_lens.shape[0]
    if req_pool_indices.shape != (batch,):
        raise ValueError(
            f"req_pool_indices: want [{batch}] as seq_lens, got {[*req_pool_indices.shape]}"
        )
    if query_lens is not None and query_lens.shape != (batch,):
        raise ValueError(f"query_lens: want [{batch}] as seq_lens, got {[*query_lens.shape]}")
    if not seq_lens.is_cpu:
        return num_tokens
    counts = [1] * batch if query_lens is None else query_lens.tolist()
    if sum(counts) > num_tokens:
        raise ValueError(f"query: want {sum(counts)} tokens as query_lens, got {num_tokens}")
    num_requests, context_len = req_to_token.shape
    for row, seq_len, count in zip(
        req_pool_indices.tolist(), seq_lens.tolist(), counts, strict=True
    ):
        if not max(0, count) <= seq_len <= context_len:
            raise ValueError(
                f"seq_lens: want {count} (its query's tokens) to {context_len}, got {seq_len}"
            )
        if not 0 <= row < num_requests:
            raise ValueError(f"req_pool_indices: want 0..{num_requests - 1}, got {row}")
    return sum(counts)


def mask_future_(scores: Tensor, first_position: int) -> None:
    """Set the scores of keys after each query's own position to -inf.

    scores: [num_tokens, num_heads, num_keys]; query i stands at first_position + i.
    """
    num_tokens, _, num_keys = scores.shape
    positions = torch.arange(first_position, first_position + num_tokens, device=scores.device)
    future = torch.arange(num_keys, device=scores.device) > positions[:, None]
    scores.masked_fill_(future[:, None, :], float("-inf"))
