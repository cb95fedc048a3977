"""MLA with keys and values in full by our C++ kernel (native/mla.cpp)."""

import ctypes

import torch
from torch import Tensor


def can_run(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Return whether the kernel takes these tensors; shapes as of `expanded.mla_expanded`."""
    return (
        query.is_cpu
        and key.is_cpu
        and value.is_cpu
        and query.shape[2] % 32 == 0
        and value.shape[2] % 32 == 0
    )


def native_mla_expanded(
    library: ctypes.CDLL,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seq_lens: Tensor,
    query_lens: Tensor,
    *,
    scaling: float,
) -> Tensor:
    """Attend; arguments and result as of `expanded.mla_expanded`, which has checked them."""
    num_tokens, num_heads, width = query.shape
    rank = value.shape[2]
    tensors = [_float_rows(tensor) for tensor in (query, key, value)]
    lens, counts = seq_lens.long().contiguous(), query_lens.long().contiguous()
    output = torch.empty(num_tokens, num_heads, rank, dtype=torch.float32)
    library.kimi_mla_expanded(
        *(part for t in tensors for part in (t.data_ptr(), t.stride(0), t.stride(1))),
        *(lens.data_ptr(), counts.data_ptr(), lens.shape[0], num_heads, width, rank, scaling),
        *(output.data_ptr(), torch.get_num_threads()),
    )
    return output.to(query.dtype)


def _float_rows(tensor: Tensor) -> Tensor:
    tensor = tensor.float()
    return tensor if tensor.stride(2) == 1 else tensor.contiguous()
