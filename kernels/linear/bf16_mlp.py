"""A SwiGLU MLP with bfloat16 weights: the one place that picks the backend.

On the CPU one call of C++ where it runs (native/mlp.cpp), else plain torch on any device.
"""

import torch
from torch import Tensor

from ..native.library import native_library
from .bf16_native import can_run, native_bf16_mlp
from .bf16_reference import check_linear, ref_bf16_mlp


def bf16_mlp(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """Compute down (silu(gate x) * (up x)).

    x:       [num_tokens, hidden_size] float32 or bfloat16, any strides.
    gate_up: [2 * intermediate_size, hidden_size] bfloat16, the gate's rows first.
    down:    [hidden_size, intermediate_size] bfloat16.

    Returns [num_tokens, hidden_size] in x's type, newly allocated; float32 in between.
    Raises ValueError naming the argument whose shape or type is wrong.
    """
    check_linear(x, gate_up)
    if down.dtype != torch.bfloat16 or down.shape != (x.shape[-1], gate_up.shape[0] // 2):
        want = [x.shape[-1], gate_up.shape[0] // 2]
        raise ValueError(f"down: want bfloat16 {want}, got {down.dtype} {[*down.shape]}")
    if can_run(x, gate_up) and can_run(x, down) and (library := native_library()):
        return native_bf16_mlp(library, x.reshape(-1, x.shape[-1]), gate_up, down).view(x.shape)
    return ref_bf16_mlp(x, gate_up, down)
