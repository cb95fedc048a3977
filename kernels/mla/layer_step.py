"""What a step asks of every layer's attention, and how the kernel takes it (native/calls.h)."""

import ctypes
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .absorbed_reference import check_sequences

_POINTER, _INT, _LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64


class _NativeStep(ctypes.Structure):
    _fields_ = (
        *((name, _POINTER) for name in ("positions", "new_slots", "cos_sin", "slots")),
        *((name, _POINTER) for name in ("requests", "seq_lens", "query_lens")),
        *((name, _LONG) for name in ("max_position", "slots_stride")),
        *((name, _INT) for name in ("num_tokens", "batch", "is_int64")),
    )


@dataclass(frozen=True, eq=False)
class MlaStep:
    """The tokens of one step and the sequences they belong to, the same for all layers.

    positions:     [num_tokens] int64, rows of cos_sin_cache.
    cos_sin_cache: [max_position, qk_rope_head_dim], cosines then sines of the pairs of neighbours.
    new_slots:     [num_tokens] int64, the rows of a layer's cache that the tokens get.
    The last four: as of `absorbed.mla_absorbed_batch`; tokens after those of all sequences are
                   padding, attend to nothing and write to their slots.

    Raises ValueError naming the argument that does not fit the others.
    """

    positions: Tensor
    cos_sin_cache: Tensor
    new_slots: Tensor
    req_to_token: Tensor
    req_pool_indices: Tensor
    seq_lens: Tensor
    query_lens: Tensor | None = None

    def __post_init__(self) -> None:
        """Check the tensors against each other, once for all layers."""
        if self.positions.dim() != 1 or self.new_slots.shape != self.positions.shape:
            got = f"{[*self.positions.shape]} and {[*self.new_slots.shape]}"
            raise ValueError(f"positions, new_slots: want [num_tokens] both, got {got}")
        check_sequences(self.positions.shape[0], *self.lengths)

    @property
    def lengths(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return the last four, as the absorbed form takes them."""
        return self.req_to_token, self.req_pool_indices, self.seq_lens, self.query_lens

    @cached_property
    def native(self) -> _NativeStep | None:
        """Return it as C++ takes it, None where a tensor lies or is otherwise."""
        table, cos_sin = self.req_to_token, self.cos_sin_cache
        is_fit = (
            cos_sin.is_cpu
            and cos_sin.dtype == torch.float32
            and cos_sin.is_contiguous()
            and self.positions.dtype == self.new_slots.dtype == torch.int64
            and table.dtype in (torch.int32, torch.int64)
            and table.stride(1) == 1
        )
        if not is_fit:
            return None
        positions, new_slots, requests, seq_lens, query_lens = self._integers
        return _NativeStep(
            *(positions.data_ptr(), new_slots.data_ptr(), cos_sin.data_ptr(), table.data_ptr()),
            *(requests.data_ptr(), seq_lens.data_ptr()),
            None if query_lens is None else query_lens.data_ptr(),
            *(cos_sin.shape[0], table.stride(0), positions.shape[0], seq_lens.shape[0]),
            table.dtype == torch.int64,
        )

    @cached_property
    def _integers(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        """Return, and keep, what `native` points to and may be a copy."""
        lens = self.query_lens
        return (
            self.positions.contiguous(),
            self.new_slots.contiguous(),
            self.req_pool_indices.long().contiguous(),
            self.seq_lens.long().contiguous(),
            None if lens is None else lens.long().contiguous(),
        )
