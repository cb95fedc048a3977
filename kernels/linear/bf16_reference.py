"""y = x w^T with bfloat16 weights in plain torch, in float32: what faster forms are compared with.

The weights are expanded a block of outputs at a time, so that a large matrix is never held twice.
"""

from typing import Final

import torch
from torch import Tensor

BLOCK_WEIGHTS: Final = 16 * 1024 * 1024  # 64 MB of float32
ACTIVATIONS: Final = (torch.float32, torch.bfloat16)


def ref_bf16_linear(x: Tensor, weight: Tensor) -> Tensor:
    """Compute `bf16.bf16_linear`; the same arguments and result."""
    block = max(1, BLOCK_WEIGHTS // max(1, weight.shape[1]))
    rows = x.float()
    parts = [torch.nn.functional.linear(rows, part.float()) for part in torch.split(weight, block)]
    return torch.cat(parts, dim=-1).to(x.dtype)


def ref_bf16_bmm(x: Tensor, weight: Tensor) -> Tensor:
    """Compute `bf16.bf16_bmm`; the same arguments and result."""
    return torch.bmm(x.float(), weight.float()).to(x.dtype)


def ref_bf16_mlp(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """Compute `bf16_mlp.bf16_mlp`; the same arguments and result."""
    gate, up = ref_bf16_linear(x.float(), gate_up).chunk(2, dim=-1)
    return ref_bf16_linear(torch.nn.functional.silu(gate) * up, down).to(x.dtype)


def check_linear(x: Tensor, weight: Tensor) -> None:
    """Raise ValueError unless x [*, in_features] fits weight [out_features, in_features]."""
    _check_types(x, weight)
    if weight.dim() != 2:
        raise ValueError(f"weight: want [out_features, in_features], got {[*weight.shape]}")
    if x.dim() == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"x: want [*, {weight.shape[1]}] as weight's rows, got {[*x.shape]}")


def check_bmm(x: Tensor, weight: Tensor) -> None:
    """Raise ValueError unless x [batch, *, in_features] fits weight [batch, in_features, *]."""
    _check_types(x, weight)
    if weight.dim() != 3:
        raise ValueError(f"weight: want [batch, in_features, out_features], got {[*weight.shape]}")
    if x.dim() != 3 or x.shape[0] != weight.shape[0] or x.shape[2] != weight.shape[1]:
        want = f"[{weight.shape[0]}, num_tokens, {weight.shape[1]}]"
        raise ValueError(f"x: want {want} as weight's batch and inputs, got {[*x.shape]}")


def _check_types(x: Tensor, weight: Tensor) -> None:
    if x.dtype not in ACTIVATIONS:
        raise ValueError(f"x: want float32 or bfloat16, got {x.dtype}")
    if weight.dtype != torch.bfloat16:
        raise ValueError(f"weight: want bfloat16, as in the checkpoint, got {weight.dtype}")
