"""One decoder layer's weights, and how the kernel takes them (native/decoder_layer.cpp)."""

import ctypes
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..mla.layer_weights import MlaWeights
from ..moe.int4_experts import AnyInt4Experts
from ..moe.int4_native import can_run as can_run_experts

_POINTER, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_float


class _NativeMoe(ctypes.Structure):
    _fields_ = (
        *(("router", _POINTER), ("bias", _POINTER), ("experts", _POINTER * 6)),
        *((name, _INT) for name in ("num_experts", "top_k", "inter", "renormalize")),
        ("scaling", _FLOAT),
    )


class _NativeLayer(ctypes.Structure):
    _fields_ = (
        *((name, _POINTER) for name in ("attention_norm", "mlp_norm", "qkv_a", "gate_up", "down")),
        *(("mla", _POINTER), ("moe", _POINTER), ("inter", _INT), ("eps", _FLOAT)),
    )


@dataclass(frozen=True, eq=False)
class MoeWeights:
    """One layer's router and routed experts, all of them.

    router: [num_experts, hidden_size] bfloat16; correction_bias: [num_experts] float32.
    renormalize: divide a token's weights by their sum; scaling: what they are then multiplied by.
    """

    router: Tensor
    correction_bias: Tensor
    experts: AnyInt4Experts
    top_k: int
    renormalize: bool
    scaling: float

    @cached_property
    def native(self) -> _NativeMoe | None:
        """Return them as C++ takes them, None where they lie or are otherwise."""
        is_fit = _are_fit(torch.bfloat16, self.router)
        is_fit = is_fit and _are_fit(torch.float32, self.correction_bias)
        if not is_fit or not can_run_experts(self.router, self.experts):
            return None
        addresses = self.experts.addresses
        assert addresses is not None  # as `can_run_experts` says
        return _NativeMoe(
            *(self.router.data_ptr(), self.correction_bias.data_ptr()),
            (_POINTER * 6)(*(array.data_ptr() for array in addresses)),
            *(self.router.shape[0], self.top_k, self.experts.moe_intermediate_size),
            *(self.renormalize, self.scaling),
        )


@dataclass(frozen=True, eq=False)
class DecoderWeights:
    """One layer's weights, all heads and experts; keep the object from call to call.

    attention_norm, mlp_norm: [hidden_size] float32; eps: of both.
    qkv_a:   [q_lora_rank + kv_lora_rank + qk_rope_head_dim, hidden_size] bfloat16.
    gate_up: [2 * intermediate_size, hidden_size] and down [hidden_size, intermediate_size]
             bfloat16, of the dense MLP, or of the shared expert where there is `moe`.
    """

    attention_norm: Tensor
    mlp_norm: Tensor
    eps: float
    qkv_a: Tensor
    mla: MlaWeights
    gate_up: Tensor
    down: Tensor
    moe: MoeWeights | None

    @cached_property
    def native(self) -> _NativeLayer | None:
        """Return them as C++ takes them, None where they lie or are otherwise."""
        is_fit = _are_fit(torch.float32, self.attention_norm, self.mlp_norm)
        is_fit = is_fit and _are_fit(torch.bfloat16, self.qkv_a, self.gate_up, self.down)
        mla, moe = self.mla.native, None if self.moe is None else self.moe.native
        if not is_fit or mla is None or (self.moe is not None and moe is None):
            return None
        tensors = (self.attention_norm, self.mlp_norm, self.qkv_a, self.gate_up, self.down)
        return _NativeLayer(
            *(tensor.data_ptr() for tensor in tensors),
            *(ctypes.addressof(mla), None if moe is None else ctypes.addressof(moe)),
            *(self.down.shape[1], self.eps),
        )


def _are_fit(dtype: torch.dtype, *tensors: Tensor) -> bool:
    return all(t.is_cpu and t.dtype == dtype and t.is_contiguous() for t in tensors)
