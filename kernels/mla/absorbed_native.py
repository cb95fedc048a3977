"""Absorbed MLA by our C++ kernel: the cache is read where it lies, in tiles (native/mla.cpp)."""

import ctypes

import torch
from torch import Tensor


def can_run(query: Tensor, kv_cache: Tensor, slots: Tensor, kv_lora_rank: int) -> bool:
    """Return whether the kernel takes these tensors; shapes as of `absorbed.mla_absorbed`."""
    _, num_heads, width = query.shape
    return (
        all(tensor.device.type == "cpu" for tensor in (query, kv_cache, slots))
        and kv_cache.dtype in (torch.bfloat16, torch.float32)
        and slots.dtype in (torch.int32, torch.int64)
        and kv_cache.is_contiguous()
        and num_heads % 2 == 0
        and width % 8 == 0
        and kv_lora_rank % 32 == 0
    )


def native_mla_absorbed(
    library: ctypes.CDLL,
    query: Tensor,
    kv_cache: Tensor,
    slots: Tensor,
    *,
    scaling: float,
    kv_lora_rank: int,
) -> Tensor:
    """Attend; arguments, result and errors as of `absorbed_reference.ref_mla_absorbed`."""
    num_tokens, num_heads, width = query.shape
    seq_len = slots.shape[0]
    if seq_len < num_tokens:
        raise ValueError(f"slots: want at least {num_tokens} (query's tokens), got {seq_len}")
    q, order = query.float().contiguous(), slots.contiguous()
    output = torch.empty(num_tokens, num_heads, kv_lora_rank, dtype=torch.float32)
    library.kimi_mla_absorbed(
        *(q.data_ptr(), kv_cache.data_ptr(), kv_cache.dtype == torch.bfloat16),
        *(order.data_ptr(), order.dtype == torch.int64),
        *(seq_len, num_tokens, num_heads, width, kv_lora_rank, scaling),
        *(output.data_ptr(), torch.get_num_threads()),
    )
    return output.to(query.dtype)
