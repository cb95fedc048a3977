"""Routed INT4 experts: the one call that the model makes, and the one place that picks a backend.

On the CPU our C++ kernel where it runs (see `native.library`), on a GPU our Triton kernels (see
`int4_gpu`), else plain torch on any device.
"""

import torch
from torch import Tensor

from ..native.library import native_library
from .int4_experts import AnyInt4Experts, Int4Experts, SeparateInt4Experts
from .int4_format import GROUP_SIZE, dequantize_int4, pack_int4, quantize_int4, unpack_int4
from .int4_gpu import uses_triton
from .int4_native import can_run, native_moe_int4
from .int4_reference import ref_moe_int4

__all__ = [
    "GROUP_SIZE",
    "AnyInt4Experts",
    "Int4Experts",
    "SeparateInt4Experts",
    "dequantize_int4",
    "moe_int4",
    "pack_int4",
    "quantize_int4",
    "unpack_int4",
]


def moe_int4(x: Tensor, experts: AnyInt4Experts, topk_ids: Tensor, topk_weights: Tensor) -> Tensor:
    """Apply this rank's routed experts to the tokens it received.

    x:            [num_tokens, hidden_size] bf16 or float32, any strides.
    experts:      the rank's packed weights, on the same device; keep the object from call to call,
                  it remembers where they lie.
    topk_ids:     [num_tokens, top_k] int32 or int64, local expert numbers; below 0 = not on this
                  rank.
    topk_weights: [num_tokens, top_k] float32, already times routed_scaling_factor.

    Returns [num_tokens, hidden_size] of x's type, newly allocated, accumulated in float32; a token
    without any local expert gives zeros.
    Raises ValueError naming the argument whose shape or type is wrong; on the CPU IndexError for
    an expert number that the rank does not have (a check on a GPU would stall it).
    Source: DeepSeek-V3 report, section 2.1.2; packing as in compressed-tensors "pack-quantized".
    """
    _check_arguments(x, experts, topk_ids, topk_weights)
    if x.shape[0] == 0:
        return torch.zeros_like(x)
    if uses_triton(experts, x):
        from .int4_triton import triton_moe_int4

        return triton_moe_int4(x, experts, topk_ids, topk_weights)
    if can_run(x, experts) and (library := native_library()):
        return native_moe_int4(library, x, experts, topk_ids, topk_weights)
    return ref_moe_int4(x, experts, topk_ids, topk_weights)


def _check_arguments(
    x: Tensor, experts: AnyInt4Experts, topk_ids: Tensor, topk_weights: Tensor
) -> None:
    if x.dim() != 2 or x.shape[1] != experts.hidden_size:
        raise ValueError(f"x: want [num_tokens, {experts.hidden_size}], got {[*x.shape]}")
    if x.dtype not in (torch.bfloat16, torch.float32):
        raise ValueError(f"x: want bfloat16 or float32, got {x.dtype}")
    if topk_ids.dim() != 2 or topk_ids.shape[0] != x.shape[0]:
        raise ValueError(f"topk_ids: want [{x.shape[0]}, top_k], got {[*topk_ids.shape]}")
    if topk_ids.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"topk_ids: want int32 or int64, got {topk_ids.dtype}")
    if topk_weights.shape != topk_ids.shape:
        raise ValueError(
            f"topk_weights: want {[*topk_ids.shape]} as topk_ids, got {[*topk_weights.shape]}"
        )
