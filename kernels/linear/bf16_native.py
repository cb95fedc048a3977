"""Products with bfloat16 weights, read where they lie (native/linear.cpp and mlp.cpp)."""

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


def native_bf16_mlp(library: ctypes.CDLL, x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """Return what `bf16_mlp.bf16_mlp` does for x [num_tokens, hidden_size], checked before."""
    tokens = x.float()
    if tokens.stride(1) != 1:
        tokens = tokens.contiguous()
    output = torch.empty(x.shape, dtype=torch.float32)
    library.kimi_bf16_mlp(
        *(tokens.data_ptr(), tokens.stride(0), gate_up.data_ptr(), down.data_ptr()),
        *(output.data_ptr(), x.shape[0], x.shape[1], down.shape[1], torch.get_num_threads()),
    )
    return output.to(x.dtype)
