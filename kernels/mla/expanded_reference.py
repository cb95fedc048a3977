"""MLA with keys and values in full, in plain torch: what the kernel is compared with."""

import torch
from torch import Tensor

from .absorbed_reference import MAX_SCORES, mask_future_


def ref_mla_expanded(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seq_lens: Tensor,
    query_lens: Tensor,
    *,
    scaling: float,
) -> Tensor:
    """Compute `expanded.mla_expanded`, in blocks of queries; the same arguments and result."""
    output = query.new_empty(*query.shape[:2], value.shape[2])
    first_query, first_key = 0, 0
    for seq_len, count in zip(seq_lens.tolist(), query_lens.tolist(), strict=True):
        keys = key[first_key : first_key + seq_len].transpose(0, 1).float()
        values = value[first_key : first_key + seq_len].transpose(0, 1).float()
        block = max(1, MAX_SCORES // max(1, query.shape[1] * seq_len))
        for start in range(0, count, block):
            rows = slice(first_query + start, first_query + min(start + block, count))
            part = query[rows].transpose(0, 1).float() * scaling
            scores = torch.bmm(part, keys.mT).transpose(0, 1)  # [tokens, num_heads, seq_len]
            mask_future_(scores, seq_len - count + start)
            weights = torch.softmax(scores, dim=-1).transpose(0, 1)
            output[rows] = torch.bmm(weights, values).transpose(0, 1).to(query.dtype)
        first_query += count
        first_key += seq_len
    return output
