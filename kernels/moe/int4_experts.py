"""The INT4 weights of the routed experts that one rank holds, in two forms. Data only."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from .int4_format import GROUP_SIZE, NIBBLES_PER_WORD


class ExpertTensors(NamedTuple):
    """The six tensors of one expert, as the checkpoint has them.

    gate, up: [moe_intermediate_size, hidden_size // 8] int32; their scales
    [moe_intermediate_size, hidden_size // group_size] bf16. down: [hidden_size,
    moe_intermediate_size // 8] int32; its scale [hidden_size, moe_intermediate_size // group_size].
    """

    gate: Tensor
    gate_scale: Tensor
    up: Tensor
    up_scale: Tensor
    down: Tensor
    down_scale: Tensor


@dataclass(frozen=True, eq=False)
class Int4Experts:
    """Packed weights of `num_local_experts` SwiGLU experts; the tensors belong to the caller.

    w13:       [num_local_experts, 2 * moe_intermediate_size, hidden_size // 8] int32; rows of the
               gate projection first, then those of the up projection.
    w13_scale: [num_local_experts, 2 * moe_intermediate_size, hidden_size // group_size] bf16.
    w2:        [num_local_experts, hidden_size, moe_intermediate_size // 8] int32.
    w2_scale:  [num_local_experts, hidden_size, moe_intermediate_size // group_size] bf16.

    moe_intermediate_size is this rank's share, a multiple of the group size.
    Raises ValueError naming the tensor whose shape or type does not fit the others.
    """

    w13: Tensor
    w13_scale: Tensor
    w2: Tensor
    w2_scale: Tensor
    group_size: int = GROUP_SIZE

    def __post_init__(self) -> None:
        """Check the four tensors against each other."""
        if self.w2.dim() != 3 or self.w13.dim() != 3:
            raise ValueError(
                f"w13, w2: want three dimensions, got {[*self.w13.shape]} and {[*self.w2.shape]}"
            )
        hidden, inter, num = self.hidden_size, self.moe_intermediate_size, self.num_local_experts
        _check_sizes(num, hidden, inter, self.group_size)
        words, groups = NIBBLES_PER_WORD, self.group_size
        _check("w13", self.w13, (num, 2 * inter, hidden // words), torch.int32)
        _check("w13_scale", self.w13_scale, (num, 2 * inter, hidden // groups), torch.bfloat16)
        _check("w2", self.w2, (num, hidden, inter // words), torch.int32)
        _check("w2_scale", self.w2_scale, (num, hidden, inter // groups), torch.bfloat16)

    @property
    def num_local_experts(self) -> int:
        """Return how many experts this rank holds."""
        return self.w2.shape[0]

    @property
    def hidden_size(self) -> int:
        """Return the width of a token."""
        return self.w2.shape[1]

    @property
    def moe_intermediate_size(self) -> int:
        """Return the width of an expert on this rank."""
        return self.w2.shape[2] * NIBBLES_PER_WORD

    def one(self, expert_id: int) -> ExpertTensors:
        """Return views of one expert's tensors; expert_id is a local number."""
        gate, up = self.w13[expert_id].chunk(2)
        gate_scale, up_scale = self.w13_scale[expert_id].chunk(2)
        down, down_scale = self.w2[expert_id], self.w2_scale[expert_id]
        return ExpertTensors(gate, gate_scale, up, up_scale, down, down_scale)

    @cached_property
    def addresses(self) -> tuple[Tensor, ...] | None:
        """Addresses as six [num_local_experts] int64, ordered as `ExpertTensors`.

        None if the tensors are not on the CPU, or not contiguous.
        """
        tensors = (self.w13, self.w13_scale, self.w2, self.w2_scale)
        if not all(_is_plain(tensor) for tensor in tensors):
            return None
        experts = torch.arange(self.num_local_experts)
        w13, w13_scale, w2, w2_scale = (t.data_ptr() + experts * t[0].nbytes for t in tensors)
        up, up_scale = w13 + self.w13[0].nbytes // 2, w13_scale + self.w13_scale[0].nbytes // 2
        return w13, w13_scale, up, up_scale, w2, w2_scale


@dataclass(frozen=True, eq=False)
class SeparateInt4Experts:
    """The same weights as six tensors an expert, wherever each lies: a mapped checkpoint's.

    Each sequence has `num_local_experts` tensors, shaped as in `ExpertTensors`; they belong to the
    caller, and whoever changes one's address makes a new object.
    Raises ValueError naming the first tensor whose shape or type does not fit `down[0]`.
    """

    gate: Sequence[Tensor]
    gate_scale: Sequence[Tensor]
    up: Sequence[Tensor]
    up_scale: Sequence[Tensor]
    down: Sequence[Tensor]
    down_scale: Sequence[Tensor]
    group_size: int = GROUP_SIZE

    def __post_init__(self) -> None:
        """Check every tensor against the first expert's down projection."""
        if not self.down or self.down[0].dim() != 2:
            got = [*self.down[0].shape] if self.down else "none"
            raise ValueError(f"down: want tensors of two dimensions, got {got}")
        hidden, inter, num = self.hidden_size, self.moe_intermediate_size, self.num_local_experts
        _check_sizes(num, hidden, inter, self.group_size)
        words, groups = NIBBLES_PER_WORD, self.group_size
        for name in ExpertTensors._fields:
            tensors: Sequence[Tensor] = getattr(self, name)
            if len(tensors) != num:
                raise ValueError(f"{name}: want {num} tensors as of down, got {len(tensors)}")
            is_scale = name.endswith("_scale")
            outputs, inputs = (hidden, inter) if name.startswith("down") else (inter, hidden)
            shape = (outputs, inputs // (groups if is_scale else words))
            dtype = torch.bfloat16 if is_scale else torch.int32
            for expert_id, tensor in enumerate(tensors):
                _check(f"{name}[{expert_id}]", tensor, shape, dtype)

    @property
    def num_local_experts(self) -> int:
        """Return how many experts this rank holds."""
        return len(self.down)

    @property
    def hidden_size(self) -> int:
        """Return the width of a token."""
        return self.down[0].shape[0]

    @property
    def moe_intermediate_size(self) -> int:
        """Return the width of an expert on this rank."""
        return self.down[0].shape[1] * NIBBLES_PER_WORD

    def one(self, expert_id: int) -> ExpertTensors:
        """Return one expert's tensors; expert_id is a local number."""
        return ExpertTensors(*(getattr(self, name)[expert_id] for name in ExpertTensors._fields))

    @cached_property
    def addresses(self) -> tuple[Tensor, ...] | None:
        """Addresses as of `Int4Experts.addresses`."""
        columns = [getattr(self, name) for name in ExpertTensors._fields]
        if not all(_is_plain(tensor) for column in columns for tensor in column):
            return None
        return tuple(torch.tensor([t.data_ptr() for t in column]) for column in columns)


AnyInt4Experts = Int4Experts | SeparateInt4Experts


def _is_plain(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.is_contiguous()


def _check_sizes(num: int, hidden: int, inter: int, group_size: int) -> None:
    if num == 0:
        raise ValueError("w2: want at least one expert, got none")
    for name, size in (("hidden_size", hidden), ("moe_intermediate_size", inter)):
        if size == 0 or size % group_size:
            raise ValueError(f"{name}: must be a multiple of group_size={group_size}, got {size}")


def _check(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tuple(tensor.shape) != shape or tensor.dtype != dtype:
        raise ValueError(f"{name}: want {[*shape]} {dtype}, got {[*tensor.shape]} {tensor.dtype}")
