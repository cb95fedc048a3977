"""One layer's absorbed MLA in one call of C++ (native/mla_layer.cpp)."""

import ctypes

import torch
from torch import Tensor

from .layer_weights import MlaWeights


def can_run(
    latents: Tensor,
    weights: MlaWeights,
    positions: Tensor,
    cos_sin_cache: Tensor,
    kv_cache: Tensor,
    new_slots: Tensor,
    req_to_token: Tensor,
    *_: object,
) -> bool:
    """Return whether the kernel takes these arguments; they are those of `layer.mla_layer`."""
    return (
        latents.is_cpu
        and weights.native is not None
        and kv_cache.dtype in (torch.float32, torch.bfloat16)
        and kv_cache.is_contiguous()
        and cos_sin_cache.dtype == torch.float32
        and cos_sin_cache.is_contiguous()
        and positions.dtype == new_slots.dtype == torch.int64
        and req_to_token.dtype in (torch.int32, torch.int64)
        and req_to_token.stride(1) == 1
    )


def native_mla_layer(
    library: ctypes.CDLL,
    latents: Tensor,
    weights: MlaWeights,
    positions: Tensor,
    cos_sin_cache: Tensor,
    kv_cache: Tensor,
    new_slots: Tensor,
    req_to_token: Tensor,
    req_pool_indices: Tensor,
    seq_lens: Tensor,
    query_lens: Tensor | None,
) -> Tensor:
    """Attend; arguments, result and errors as of `layer.mla_layer`, checked before."""
    assert weights.native is not None  # as `can_run` says
    rows = latents.float().contiguous()
    places, slots = positions.contiguous(), new_slots.contiguous()
    requests, lens = req_pool_indices.long().contiguous(), seq_lens.long().contiguous()
    counts = None if query_lens is None else query_lens.long().contiguous()
    output = torch.empty(rows.shape[0], weights.o.shape[0], dtype=torch.float32)
    status = library.kimi_mla_layer(
        *(ctypes.byref(weights.native), rows.data_ptr(), rows.shape[0]),
        *(places.data_ptr(), cos_sin_cache.data_ptr(), cos_sin_cache.shape[0], slots.data_ptr()),
        *(kv_cache.data_ptr(), kv_cache.dtype == torch.bfloat16, kv_cache.shape[0]),
        *(req_to_token.data_ptr(), req_to_token.dtype == torch.int64, req_to_token.stride(0)),
        *(requests.data_ptr(), lens.data_ptr(), None if counts is None else counts.data_ptr()),
        *(lens.shape[0], output.data_ptr(), torch.get_num_threads()),
    )
    if status == 2:
        raise ValueError(f"positions: want rows 0..{cos_sin_cache.shape[0] - 1} of cos_sin_cache")
    if status:
        want = f"want rows 0..{kv_cache.shape[0] - 1} of kv_cache"
        raise ValueError(f"new_slots, req_to_token: {want}")
    return output.to(latents.dtype)
