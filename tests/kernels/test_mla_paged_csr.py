"""A batch's index ranges name exactly the slots that its table names, page by page."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sglang_kimi.kernels.mla.paged_csr import paged_csr

MAX_LEN = 300


def make_table(num_rows, page_size, seed=0):
    """Return a table whose rows hold other pages each, in random order."""
    pages_of_row = -(-MAX_LEN // page_size)
    generator = torch.Generator().manual_seed(seed)
    pages = torch.randperm(num_rows * pages_of_row, generator=generator).view(num_rows, -1)
    slots = pages[:, :, None] * page_size + torch.arange(page_size)
    return slots.view(num_rows, -1)[:, :MAX_LEN].int().contiguous()


def slots_of(csr, sequence, page_size):
    """Return the slots that a sequence's range stands for, read back as the kernel reads it."""
    start, end = csr.kv_indptr[sequence : sequence + 2].tolist()
    pages = csr.kv_indices[start:end].long()
    slots = (pages[:, None] * page_size + torch.arange(page_size)).flatten()
    return slots[: int(csr.kv_lens[sequence])]


@given(
    page_size=st.sampled_from([1, 16, 64]),
    lengths=st.lists(
        st.integers(0, MAX_LEN).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
        max_size=6,
    ),
    data=st.data(),
)
def test_each_range_holds_the_slots_of_its_sequence(page_size, lengths, data):
    table = make_table(8, page_size)
    rows = torch.tensor([data.draw(st.integers(0, 7)) for _ in lengths], dtype=torch.int64)
    queries, seqs = [q for q, _ in lengths], [n for _, n in lengths]
    csr = paged_csr(table, rows, query_lens=queries, seq_lens=seqs, page_size=page_size)
    assert csr.qo_indptr.diff().tolist() == queries
    assert csr.kv_lens.tolist() == seqs
    assert len(csr.kv_indices) == csr.kv_indptr[-1]
    for i, seq_len in enumerate(seqs):
        assert torch.equal(slots_of(csr, i, page_size), table[rows[i], :seq_len].long())


def test_all_four_are_int32_as_the_plan_wants_them():
    csr = paged_csr(
        make_table(2, 64).long(), torch.tensor([1]), query_lens=[1], seq_lens=[65], page_size=64
    )
    assert {tensor.dtype for tensor in csr} == {torch.int32}
    assert csr.kv_indptr.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("queries", "seqs", "page_size", "message"),
    [
        ([2], [1], 1, r"query_lens\[0\]: want 0 to seq_lens\[0\] = 1, got 2"),
        ([-1], [1], 1, r"query_lens\[0\]: want 0"),
        ([1], [301], 1, r"seq_lens\[0\]: want at most 300"),
        ([1, 1], [1], 1, "one entry a sequence in each, got 1, 2, 1"),
        ([1], [1], 0, "page_size: want at least 1, got 0"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(queries, seqs, page_size, message):
    with pytest.raises(ValueError, match=message):
        paged_csr(
            make_table(1, 1),
            torch.zeros(1, dtype=torch.int64),
            query_lens=queries,
            seq_lens=seqs,
            page_size=page_size,
        )
