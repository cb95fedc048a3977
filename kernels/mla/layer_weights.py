"""One layer's weights of absorbed MLA, and how the kernel takes them (native/mla_layer.cpp)."""

import ctypes
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

_POINTER, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_float


class _NativeWeights(ctypes.Structure):
    _fields_ = (
        *((name, _POINTER) for name in ("q_norm", "kv_norm", "q_b", "w_kc", "w_vc", "o")),
        *((name, _INT) for name in ("q_rank", "rank", "nope", "rope", "value", "heads", "hidden")),
        *((name, _FLOAT) for name in ("eps", "scaling")),
    )


@dataclass(frozen=True, eq=False)
class MlaWeights:
    """One layer's weights of absorbed MLA, this rank's heads; keep it from call to call.

    q_norm:  [q_lora_rank], kv_norm: [kv_lora_rank], float32 or bfloat16.
    q_b:     [num_heads * (qk_nope_head_dim + rope_dim), q_lora_rank] bfloat16.
    w_kc:    [num_heads, qk_nope_head_dim, kv_lora_rank] bfloat16, its transpose contiguous.
    w_vc:    [num_heads, kv_lora_rank, v_head_dim] bfloat16, its transpose contiguous.
    o:       [hidden_size, num_heads * v_head_dim] bfloat16.
    eps: of both norms; scaling: of the scores.
    """

    q_norm: Tensor
    kv_norm: Tensor
    q_b: Tensor
    w_kc: Tensor
    w_vc: Tensor
    o: Tensor
    rope_dim: int
    eps: float
    scaling: float

    @cached_property
    def native(self) -> _NativeWeights | None:
        """Return them as C++ takes them, None where they lie or are otherwise."""
        norms = (self.q_norm, self.kv_norm)
        matrices = (self.q_b, self.w_kc.mT, self.w_vc.mT, self.o)
        if not all(norm.is_cpu and norm.dtype == torch.float32 for norm in norms):
            return None
        if not all(w.is_contiguous() and w.dtype == torch.bfloat16 for w in matrices):
            return None
        heads, nope, rank = self.w_kc.shape
        if rank % 32 or (rank + self.rope_dim) % 32:
            return None
        sizes = (self.q_norm.shape[0], rank, nope, self.rope_dim, self.w_vc.shape[2], heads)
        pointers = (tensor.data_ptr() for tensor in (*norms, *matrices))
        return _NativeWeights(*pointers, *sizes, self.o.shape[0], self.eps, self.scaling)
