"""RMSNorm in float32: the one place that picks its backend.

On the CPU the C++ kernel where it runs (see `native.library`), a tenth of what torch's six
operations take for one token; else plain torch on any device.
"""

import torch
from torch import Tensor

from ..native.library import native_library


def rms_norm(
    x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Normalise the rows of x, after a residual stream was added to them.

    x:        [num_rows, size] float32 or bfloat16, any strides between rows.
    weight:   [size] float32 or bfloat16.
    residual: [num_rows, size] or None.

    Returns the normed rows, and the sum before the norm (x itself without a residual), in x's
    type; computed in float32. Raises ValueError naming the argument whose shape is wrong.
    """
    if x.dim() != 2 or weight.shape != x.shape[1:]:
        raise ValueError(f"weight: want [{x.shape[-1]}] for x {[*x.shape]}, got {[*weight.shape]}")
    if residual is not None and residual.shape != x.shape:
        raise ValueError(f"residual: want {[*x.shape]} as x, got {[*residual.shape]}")
    if _can_run(x, weight, residual) and (library := native_library()):
        normed = torch.empty(x.shape, dtype=torch.float32)
        total = x if residual is None else torch.empty_like(normed)
        library.kimi_rms_norm(
            *(x.data_ptr(), x.stride(0), None if residual is None else residual.data_ptr()),
            *(weight.data_ptr(), total.data_ptr(), normed.data_ptr(), x.shape[0], x.shape[1]),
            *(eps, torch.get_num_threads()),
        )
        return normed, total
    return ref_rms_norm(x, weight, eps, residual)


def ref_rms_norm(
    x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute `rms_norm` in plain torch; the same arguments and result."""
    total = x.float() if residual is None else x.float() + residual.float()
    scale = torch.rsqrt(total.pow(2).mean(dim=-1, keepdim=True) + eps)
    return (total * scale * weight.float()).to(x.dtype), total.to(x.dtype)


def _can_run(x: Tensor, weight: Tensor, residual: Tensor | None) -> bool:
    tensors = [x, weight] if residual is None else [x, weight, residual]
    return (
        all(tensor.is_cpu and tensor.dtype == torch.float32 for tensor in tensors)
        and x.stride(1) == 1
        and weight.is_contiguous()
        and (residual is None or residual.is_contiguous())
    )
