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
    Raises ValueError if the sequence is shorter than its query.
    """
    num_tokens, num_heads, width = query.shape
    seq_len = slots.shape[0]
    if seq_len < num_tokens:
        raise ValueError(f"slots: want at least {num_tokens} (query's tokens), got {seq_len}")
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


def mask_future_(scores: Tensor, first_position: int) -> None:
    """Set the scores of keys after each query's own position to -inf.

    scores: [num_tokens, num_heads, num_keys]; query i stands at first_position + i.
    """
    num_tokens, _, num_keys = scores.shape
    positions = torch.arange(first_position, first_position + num_tokens, device=scores.device)
    future = torch.arange(num_keys, device=scores.device) > positions[:, None]
    scores.masked_fill_(future[:, None, :], float("-inf"))
