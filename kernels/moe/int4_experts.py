"""The INT4 weights of the routed experts that one rank holds. Data only."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .int4_format import GROUP_SIZE, NIBBLES_PER_WORD


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
        if num == 0:
            raise ValueError("w2: want at least one expert, got none")
        for name, size in (("hidden_size", hidden), ("moe_intermediate_size", inter)):
            if size == 0 or size % self.group_size:
                raise ValueError(
                    f"{name}: must be a multiple of group_size={self.group_size}, got {size}"
                )
        expected = {
            "w13": ((num, 2 * inter, hidden // NIBBLES_PER_WORD), torch.int32),
            "w13_scale": ((num, 2 * inter, hidden // self.group_size), torch.bfloat16),
            "w2": ((num, hidden, inter // NIBBLES_PER_WORD), torch.int32),
            "w2_scale": ((num, hidden, inter // self.group_size), torch.bfloat16),
        }
        for name, (shape, dtype) in expected.items():
            tensor: Tensor = getattr(self, name)
            if tuple(tensor.shape) != shape or tensor.dtype != dtype:
                raise ValueError(
                    f"{name}: want {[*shape]} {dtype}, got {[*tensor.shape]} {tensor.dtype}"
                )

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
