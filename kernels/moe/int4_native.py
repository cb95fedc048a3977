"""INT4 routed experts by our C++ kernel, straight on the packed tensors (native/int4_experts.cpp).

Float32 throughout, relative error 5e-7 against float64. Few tokens an expert read the weights row
by row; from six tokens on a tile of rows is expanded once for all of them.
"""

import ctypes

import torch
from torch import Tensor

from .int4_experts import Int4Experts
from .int4_format import GROUP_SIZE


def can_run(x: Tensor, experts: Int4Experts) -> bool:
    """Return whether the kernel takes these tensors: on the CPU, contiguous, groups of 32."""
    tensors = (experts.w13, experts.w13_scale, experts.w2, experts.w2_scale)
    is_here = x.device.type == "cpu" and all(tensor.is_contiguous() for tensor in tensors)
    return is_here and experts.group_size == GROUP_SIZE


def native_moe_int4(
    library: ctypes.CDLL, x: Tensor, experts: Int4Experts, topk_ids: Tensor, topk_weights: Tensor
) -> Tensor:
    """Apply the experts; arguments and result as of `int4.moe_int4`, which has checked them."""
    num_tokens, top_k = topk_ids.shape
    if top_k and int(topk_ids.max()) >= experts.num_local_experts:
        raise IndexError(
            f"topk_ids: want below {experts.num_local_experts}, got {int(topk_ids.max())}"
        )
    tokens = x.float().contiguous()
    ids = topk_ids.int().contiguous()
    weights = topk_weights.float().contiguous()
    output = torch.empty(num_tokens, experts.hidden_size, dtype=torch.float32)
    library.kimi_moe_int4(
        *(tensor.data_ptr() for tensor in (tokens, ids, weights)),
        *(num_tokens, top_k, experts.num_local_experts),
        *(experts.hidden_size, experts.moe_intermediate_size),
        *(t.data_ptr() for t in (experts.w13, experts.w13_scale, experts.w2, experts.w2_scale)),
        *(output.data_ptr(), torch.get_num_threads()),
    )
    return output.to(x.dtype)
