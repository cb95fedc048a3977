"""MLA with keys and values in full, for long prompts: the one place that picks its backend.

The absorbed form multiplies 576 + 512 numbers for every pair of query and key of a head, this one
192 + 128, after expanding the latent of every key once (kv_b_proj).
"""

import torch
from torch import Tensor

from ..native.library import native_library
from .expanded_native import can_run, native_mla_expanded
from .expanded_reference import ref_mla_expanded


def mla_expanded(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seq_lens: Tensor,
    query_lens: Tensor,
    *,
    scaling: float,
) -> Tensor:
    """Attend the last tokens of every sequence, causally, to all of their sequence.

    query:      [num_tokens, num_heads, qk_head_dim], sequence after sequence; token i of a sequence
                stands at seq_len - query_len + i. Tokens after those of all sequences are
                padding and give zeros.
    key:        [num_keys, num_heads, qk_head_dim], all tokens of the sequences, one after another.
    value:      [num_keys, num_heads, v_head_dim].
    seq_lens:   [batch] int, keys of each sequence.
    query_lens: [batch] int, queries of each sequence, up to its keys.

    Returns [num_tokens, num_heads, v_head_dim] in query's type; sums in float32.
    Raises ValueError naming the argument that does not fit.
    """
    num_tokens = _check_arguments(query, key, value, seq_lens, query_lens)
    num_padding = query.shape[0] - num_tokens
    tensors = (query[:num_tokens], key, value, seq_lens, query_lens)
    if can_run(query, key, value) and (library := native_library()):
        output = native_mla_expanded(library, *tensors, scaling=scaling)
    else:
        output = ref_mla_expanded(*tensors, scaling=scaling)
    return torch.nn.functional.pad(output, (0, 0, 0, 0, 0, num_padding)) if num_padding else output


def expanded_is_cheaper(num_new: int, num_cached: int, kv_lora_rank: int = 512) -> bool:
    """Say whether expanding all keys takes less arithmetic than the absorbed form.

    num_new: the sequences' new tokens, num_cached: those before them, summed over the step; widths
    as in the release's model (128 + 64 of a key, 128 of a value). Absorbing the new tokens' queries
    costs what expanding their keys does, so only cached tokens pay for the expansion.
    """
    pairs = num_new * (num_cached + num_new / 2)
    return pairs * (2 * kv_lora_rank + 64 - 320) > num_cached * kv_lora_rank * 256


def _check_arguments(
    query: Tensor, key: Tensor, value: Tensor, seq_lens: Tensor, query_lens: Tensor
) -> int:
    """Return how many of query's tokens are of sequences."""
    heads, width = query.shape[1:]
    if key.shape[1:] != (heads, width):
        raise ValueError(f"key: want [num_keys, {heads}, {width}] as query, got {[*key.shape]}")
    if value.shape[:2] != key.shape[:2]:
        raise ValueError(f"value: want {[*key.shape[:2]]} as key, got {[*value.shape]}")
    for name, lens, rows in (("seq_lens", seq_lens, key), ("query_lens", query_lens, query)):
        if int(lens.sum()) > rows.shape[0]:
            raise ValueError(f"{name}: want a sum of {rows.shape[0]}, got {int(lens.sum())}")
    if bool((query_lens < 0).any() or torch.any(query_lens > seq_lens)):
        raise ValueError(
            f"query_lens: want 0 to {seq_lens.tolist()} as seq_lens, got {query_lens.tolist()}"
        )
    return int(query_lens.sum())
