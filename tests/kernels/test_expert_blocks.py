"""Every (token, slot) pair of a local expert lies in exactly one block of that expert."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sglang_kimi.kernels.moe.expert_blocks import (
    ExpertBlocks,
    blocks_of_masked_rows,
    blocks_of_pairs,
)


def worked_off(blocks: ExpertBlocks) -> list[tuple[int, int]]:
    """Return (expert, position) for all that the blocks' programs would compute."""
    done = []
    for expert, first, end in zip(
        blocks.expert.tolist(), blocks.first.tolist(), blocks.end.tolist(), strict=True
    ):
        if expert >= 0:
            positions = range(first, min(first + blocks.block_m, end))
            assert positions
            done += [(expert, position) for position in positions]
    return done


@given(st.data())
def test_pairs_are_covered_once_and_others_experts_left_out(data: st.DataObject) -> None:
    num_experts = data.draw(st.integers(1, 9))
    num_slots = data.draw(st.integers(1, 8))
    block_m = data.draw(st.sampled_from([1, 4, 16]))
    rows = st.lists(st.integers(-2, num_experts + 2), min_size=num_slots, max_size=num_slots)
    ids = torch.tensor(data.draw(st.lists(rows, min_size=1, max_size=20)), dtype=torch.int32)
    blocks = blocks_of_pairs(ids, num_experts, block_m)
    assert blocks.pair is not None
    done = sorted((blocks.pair[position].item(), expert) for expert, position in worked_off(blocks))
    flat = ids.flatten().tolist()
    assert done == [(pair, e) for pair, e in enumerate(flat) if 0 <= e < num_experts]


def test_the_number_of_blocks_follows_from_shapes_alone() -> None:
    ids = torch.randint(0, 8, (64, 4), generator=torch.Generator().manual_seed(0))
    same = blocks_of_pairs(torch.full_like(ids, 3), 8, 16)
    assert blocks_of_pairs(ids, 8, 16).num_blocks == same.num_blocks == 64 * 4 // 16 + 8
    assert blocks_of_pairs(ids[:1], 384, 16).num_blocks == 4  # never more than pairs


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.sampled_from([1, 16, 64]))
def test_filled_rows_of_a_table_are_covered_once(num_rows: list[int], block_m: int) -> None:
    blocks = blocks_of_masked_rows(torch.tensor(num_rows, dtype=torch.int32), 40, block_m)
    expected = [(e, 40 * e + row) for e, count in enumerate(num_rows) for row in range(count)]
    assert worked_off(blocks) == expected
