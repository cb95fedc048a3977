"""Products with bfloat16 weights, read where they lie by our C++ kernel (native/linear.cpp)."""

import ctypes

import torch
from torch import Tensor


def can_run(x: Tensor, weight: Tensor) -> bool:
    """Return whether the kernel takes these tensors; weight [*, out_features, in_features]."""
    return x.is_cpu and weight.is_cpu and weight.is_contiguous()


def native_bf16_bmm(library: ctypes.CDLL, x: Tensor, weight: Tensor) -> Tensor:
    """Return x [batch, num_tokens, in] times weight [batch, out, in] transposed, checked before.

    The result [batch, num_tokens, out] lies in memory as [num_tokens, batch, out].
    """
    batch, num_tokens, _ = x.shape
    _, out_features, in_features = weight.shape
    tokens = x.float()
    if tokens.stride(-1) != 1:
        tokens = tokens.contiguous()
    output = torch.empty(num_tokens, batch, out_features, dtype=torch.float32)
    library.kimi_bf16_linear(
        *(tokens.data_ptr(), tokens.stride(0), tokens.stride(1), weight.data_ptr()),
        *(output.data_ptr(), out_features, batch * out_features),
        *(batch, num_tokens, in_features, out_features, torch.get_num_threads()),
    )
    return output.to(x.dtype).transpose(0, 1)
