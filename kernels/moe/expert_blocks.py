"""Which rows each program of a grouped kernel works on: blocks of rows of one expert.

Positions are rows in the order in which experts are worked off. Everything stays on the device and
every size follows from shapes, so that a CUDA graph can record it. Plain torch, any device.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ExpertBlocks:
    """Blocks of at most `block_m` positions of one expert.

    expert: [num_blocks] int32, the expert of a block; -1 = nothing to do.
    first:  [num_blocks] int32, its first position.
    end:    [num_blocks] int32, where the positions of its expert end: a block works on
            first .. min(first + block_m, end).
    pair:   [num_positions] int32, the (token, slot) pair of a position, token * num_slots + slot;
            None where a position is itself the row of the input.
    """

    expert: Tensor
    first: Tensor
    end: Tensor
    pair: Tensor | None
    block_m: int

    @property
    def num_blocks(self) -> int:
        """Return how many blocks there are, those without work included."""
        return self.expert.shape[0]


def blocks_of_pairs(topk_ids: Tensor, num_experts: int, block_m: int) -> ExpertBlocks:
    """Sort the (token, slot) pairs by expert and cut each expert's into blocks.

    topk_ids: [num_tokens, num_slots] int32 or int64; numbers outside 0 .. num_experts - 1 are left
    out. Pairs of one expert keep their order.
    """
    ids = topk_ids.flatten().long()
    is_local = (ids >= 0) & (ids < num_experts)
    sorted_ids, order = torch.where(is_local, ids, num_experts).sort(stable=True)
    experts = torch.arange(num_experts + 1, device=ids.device)
    starts = torch.searchsorted(sorted_ids, experts)  # [num_experts + 1]
    num_pairs = ids.shape[0]
    # An expert's last block may be partly filled, and at most one a pair can be so.
    max_blocks = num_pairs // block_m + min(num_pairs, num_experts)
    first_block = _exclusive_sum((starts.diff() + block_m - 1) // block_m)
    blocks = torch.arange(max_blocks, device=ids.device)
    expert = torch.searchsorted(first_block, blocks, right=True) - 1
    is_used = expert < num_experts
    expert = expert.clamp(max=num_experts - 1)
    first = starts[expert] + (blocks - first_block[expert]) * block_m
    return ExpertBlocks(
        expert=torch.where(is_used, expert, -1).int(),
        first=first.int(),
        end=starts[expert + 1].int(),
        pair=order.int(),
        block_m=block_m,
    )


def blocks_of_masked_rows(num_rows: Tensor, max_rows: int, block_m: int) -> ExpertBlocks:
    """Cut the first `num_rows[expert]` of `max_rows` rows that every expert has room for.

    num_rows: [num_experts] int32 or int64, on the device.
    """
    num_experts = num_rows.shape[0]
    per_expert = -(-max_rows // block_m)
    experts = torch.arange(num_experts, device=num_rows.device).repeat_interleave(per_expert)
    offset = torch.arange(per_expert, device=num_rows.device).repeat(num_experts) * block_m
    is_used = offset < num_rows[experts]
    return ExpertBlocks(
        expert=torch.where(is_used, experts, -1).int(),
        first=(experts * max_rows + offset).int(),
        end=(experts * max_rows + num_rows[experts]).int(),
        pair=None,
        block_m=block_m,
    )


def _exclusive_sum(counts: Tensor) -> Tensor:
    """Return [n + 1]: 0 and the running sums."""
    return torch.nn.functional.pad(counts.cumsum(0), (1, 0))
