"""One layer's absorbed MLA in one call of C++ (native/mla_layer.cpp)."""

import ctypes

import torch
from torch import Tensor

from .layer_step import MlaStep
from .layer_weights import MlaWeights


def can_run(hidden: Tensor, weights: MlaWeights, step: MlaStep, kv_cache: Tensor) -> bool:
    """Return whether the kernel takes these arguments; hidden is what the weights multiply."""
    return (
        hidden.is_cpu
        and kv_cache.dtype in (torch.float32, torch.bfloat16)
        and kv_cache.is_contiguous()
        and weights.native is not None
        and step.native is not None
    )


def native_mla_layer(
    library: ctypes.CDLL, latents: Tensor, weights: MlaWeights, step: MlaStep, kv_cache: Tensor
) -> Tensor:
    """Attend; arguments, result and errors as of `layer.mla_layer`, checked before."""
    assert weights.native is not None and step.native is not None  # as `can_run` says
    rows = latents.float().contiguous()
    output = torch.empty(rows.shape[0], weights.o.shape[0], dtype=torch.float32)
    status = library.kimi_mla_layer(
        *(ctypes.byref(weights.native), ctypes.byref(step.native), rows.data_ptr()),
        *(kv_cache.data_ptr(), kv_cache.dtype == torch.bfloat16, kv_cache.shape[0]),
        *(output.data_ptr(), torch.get_num_threads()),
    )
    raise_for_status(status, step, kv_cache)
    return output.to(latents.dtype)


def raise_for_status(status: int, step: MlaStep, kv_cache: Tensor) -> None:
    """Raise the ValueError that a kernel's status stands for, none for 0."""
    if status == 2:
        last = step.cos_sin_cache.shape[0] - 1
        raise ValueError(f"positions: want rows 0..{last} of cos_sin_cache")
    if status:
        want = f"want rows 0..{kv_cache.shape[0] - 1} of kv_cache"
        raise ValueError(f"new_slots, req_to_token: {want}")
