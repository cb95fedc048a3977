"""Absorbed MLA by our C++ kernel: the cache is read where it lies, in tiles (native/mla.cpp)."""

import ctypes

import torch
from torch import Tensor


def can_run(query: Tensor, kv_cache: Tensor, req_to_token: Tensor, kv_lora_rank: int) -> bool:
    """Return whether the kernel takes these tensors; shapes as of `absorbed.mla_absorbed_batch`."""
    return (
        query.is_cpu
        and kv_cache.is_cpu
        and kv_cache.dtype in (torch.bfloat16, torch.float32)
        and req_to_token.dtype in (torch.int32, torch.int64)
        and kv_cache.is_contiguous()
        and query.shape[-1] % 32 == 0
        and kv_lora_rank % 32 == 0
    )


def native_mla_absorbed_batch(
    library: ctypes.CDLL,
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
    """Attend; arguments, result and errors as of `absorbed.mla_absorbed_batch`, checked before."""
    num_tokens, num_heads, width = query.shape
    q = query.float().contiguous()
    slots = req_to_token if req_to_token.stride(1) == 1 else req_to_token.contiguous()
    requests, lens = req_pool_indices.long().contiguous(), seq_lens.long().contiguous()
    counts = None if query_lens is None else query_lens.long().contiguous()
    output = torch.empty(num_tokens, num_heads, kv_lora_rank, dtype=torch.float32)
    status = library.kimi_mla_absorbed(
        *(q.data_ptr(), kv_cache.data_ptr(), kv_cache.dtype == torch.bfloat16, kv_cache.shape[0]),
        *(slots.data_ptr(), slots.dtype == torch.int64, slots.stride(0)),
        *(requests.data_ptr(), lens.data_ptr(), None if counts is None else counts.data_ptr()),
        *(lens.shape[0], num_heads, width, kv_lora_rank, scaling),
        *(output.data_ptr(), torch.get_num_threads()),
    )
    if status:
        raise ValueError(f"req_to_token: want rows 0..{kv_cache.shape[0] - 1} of kv_cache")
    return output.to(query.dtype)
