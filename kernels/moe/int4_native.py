"""INT4 routed experts by our C++ kernel, straight on the packed tensors (native/int4_experts.cpp).

Activations are quantised to 16 bits with a scale for each group of 32, whose products are exact;
the rest is float32. Relative error 5e-5 against float64. Few tokens an expert read the weights row
by row; from four on a tile of rows is unpacked once for all of them: the same sums of groups.
"""

import ctypes

import torch
from torch import Tensor

from .int4_experts import AnyInt4Experts
from .int4_format import GROUP_SIZE


def can_run(x: Tensor, experts: AnyInt4Experts) -> bool:
    """Return whether the kernel takes these tensors: on the CPU, contiguous, groups of 32."""
    is_fit = x.device.type == "cpu" and experts.group_size == GROUP_SIZE
    return is_fit and experts.addresses is not None


def native_moe_int4(
    library: ctypes.CDLL, x: Tensor, experts: AnyInt4Experts, topk_ids: Tensor, topk_weights: Tensor
) -> Tensor:
    """Apply the experts; arguments and result as of `int4.moe_int4`, which has checked them."""
    num_tokens, top_k = topk_ids.shape
    addresses = experts.addresses
    assert addresses is not None  # as `can_run` says
    tokens = x.float().contiguous()
    ids = topk_ids.int().contiguous()
    weights = topk_weights.float().contiguous()
    output = torch.empty(num_tokens, experts.hidden_size, dtype=torch.float32)
    stranger = library.kimi_moe_int4(
        *(tensor.data_ptr() for tensor in (tokens, ids, weights)),
        *(num_tokens, top_k, experts.num_local_experts),
        *(experts.hidden_size, experts.moe_intermediate_size),
        *(array.data_ptr() for array in addresses),
        *(output.data_ptr(), torch.get_num_threads()),
    )
    if stranger >= 0:
        raise IndexError(f"topk_ids: want below {experts.num_local_experts}, got {stranger}")
    return output.to(x.dtype)
