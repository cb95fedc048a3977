"""Choice of experts from their logits: the one place that picks its backend.

On the CPU one call of C++ where it runs (native/routing.cpp), else plain torch on any device.
Source: DeepSeek-V3 report, section 2.1.2, without groups; the release's code for the epsilon.
"""

import ctypes
from typing import Final

import torch
from torch import Tensor

from ..native.library import native_library

EPSILON: Final = 1e-20  # against a division by nothing


def route_by_sigmoid(
    logits: Tensor, correction_bias: Tensor, top_k: int, *, renormalize: bool
) -> tuple[Tensor, Tensor]:
    """Choose each token's experts by sigmoid plus bias, weighed by the sigmoid alone.

    logits:          [num_tokens, num_experts], any float dtype.
    correction_bias: [num_experts] float32.
    renormalize:     divide a token's weights by their sum.

    Returns weights [num_tokens, top_k] float32 and ids [num_tokens, top_k] int32, in any order.
    Raises ValueError naming the argument that does not fit.
    """
    if logits.dim() != 2 or correction_bias.shape != logits.shape[1:]:
        raise ValueError(
            f"correction_bias: want [num_experts] of logits {[*logits.shape]}, "
            f"got {[*correction_bias.shape]}"
        )
    if not 0 < top_k <= logits.shape[1]:
        raise ValueError(f"top_k: want 1 to {logits.shape[1]} experts, got {top_k}")
    is_fit = logits.is_cpu and correction_bias.is_cpu and correction_bias.dtype == torch.float32
    if is_fit and (library := native_library()):
        return native_route_by_sigmoid(library, logits, correction_bias, top_k, renormalize)
    return ref_route_by_sigmoid(logits, correction_bias, top_k, renormalize)


def native_route_by_sigmoid(
    library: ctypes.CDLL, logits: Tensor, correction_bias: Tensor, top_k: int, renormalize: bool
) -> tuple[Tensor, Tensor]:
    """Compute `route_by_sigmoid` by the kernel; arguments checked before."""
    rows, bias = logits.float().contiguous(), correction_bias.contiguous()
    weights = torch.empty(rows.shape[0], top_k, dtype=torch.float32)
    ids = torch.empty(rows.shape[0], top_k, dtype=torch.int32)
    library.kimi_route_sigmoid(
        *(rows.data_ptr(), bias.data_ptr(), *rows.shape, top_k, renormalize),
        *(weights.data_ptr(), ids.data_ptr(), torch.get_num_threads()),
    )
    return weights, ids


def ref_route_by_sigmoid(
    logits: Tensor, correction_bias: Tensor, top_k: int, renormalize: bool
) -> tuple[Tensor, Tensor]:
    """Compute `route_by_sigmoid` in plain torch."""
    scores = logits.float().sigmoid()
    ids = torch.topk(scores + correction_bias, top_k, dim=-1, sorted=False).indices
    weights = scores.gather(1, ids)
    if renormalize:
        weights = weights / (weights.sum(dim=-1, keepdim=True) + EPSILON)
    return weights, ids.to(torch.int32)
