"""Absorbed MLA against a float64 loop over tokens, heads and keys."""

import pytest
import torch

from sglang_kimi.kernels.mla import absorbed, absorbed_reference
from sglang_kimi.kernels.mla.absorbed import mla_absorbed, mla_absorbed_batch

KV_LORA_RANK, ROPE = 24, 8


def ref_by_loop(query, kv_cache, slots, scaling, rank=KV_LORA_RANK):
    keys = kv_cache[slots].double()
    num_tokens, num_heads, _ = query.shape
    output = torch.zeros(num_tokens, num_heads, rank, dtype=torch.float64)
    for token in range(num_tokens):
        visible = keys[: len(slots) - num_tokens + token + 1]
        for head in range(num_heads):
            weights = torch.softmax(scaling * (visible @ query[token, head].double()), dim=0)
            output[token, head] = weights @ visible[:, :rank]
    return output


def make_case(num_tokens, seq_len, num_heads=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(num_tokens, num_heads, KV_LORA_RANK + ROPE, generator=generator)
    kv_cache = torch.randn(2 * seq_len + 5, KV_LORA_RANK + ROPE, generator=generator)
    slots = torch.randperm(2 * seq_len + 5, generator=generator)[:seq_len]
    return query, kv_cache, slots


@pytest.mark.parametrize(
    ("num_tokens", "seq_len"), [(1, 1), (1, 65), (5, 5), (5, 64), (17, 63), (40, 257)]
)
def test_output_equals_the_loop_for_decode_prefill_and_cached_prefix(num_tokens, seq_len):
    query, kv_cache, slots = make_case(num_tokens, seq_len)
    output = mla_absorbed(query, kv_cache, slots, scaling=0.3, kv_lora_rank=KV_LORA_RANK)
    torch.testing.assert_close(
        output.double(), ref_by_loop(query, kv_cache, slots, 0.3), atol=2e-6, rtol=2e-6
    )


def test_blocks_of_queries_give_the_same_as_one_block(monkeypatch):
    query, kv_cache, slots = make_case(40, 100)
    whole = mla_absorbed(query, kv_cache, slots, scaling=0.2, kv_lora_rank=KV_LORA_RANK)
    monkeypatch.setattr(absorbed_reference, "MAX_SCORES", 3 * 100 * 7)  # seven queries a block
    blocks = mla_absorbed(query, kv_cache, slots, scaling=0.2, kv_lora_rank=KV_LORA_RANK)
    torch.testing.assert_close(blocks, whole, atol=1e-6, rtol=1e-6)


def test_bfloat16_input_comes_back_as_bfloat16():
    query, kv_cache, slots = make_case(2, 9)
    output = mla_absorbed(
        query.bfloat16(), kv_cache.bfloat16(), slots, scaling=0.2, kv_lora_rank=KV_LORA_RANK
    )
    assert output.dtype == torch.bfloat16


def test_a_sequence_shorter_than_its_query_is_refused():
    query, kv_cache, slots = make_case(4, 4)
    with pytest.raises(ValueError, match="seq_lens: want 4 "):
        mla_absorbed(query, kv_cache, slots[:3], scaling=1.0, kv_lora_rank=KV_LORA_RANK)


@pytest.mark.usefixtures("with_kernels")
@pytest.mark.parametrize("cache_dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("num_tokens", "seq_len", "num_heads"),
    [
        (1, 1, 2),
        (1, 16, 4),
        (1, 333, 16),
        (1, 700, 1),
        (3, 20, 7),
        (40, 40, 8),
        (70, 257, 64),
        (129, 129, 3),
    ],
)
def test_the_kernel_equals_the_loop(num_tokens, seq_len, num_heads, cache_dtype, monkeypatch):
    monkeypatch.setattr(absorbed, "ref_mla_absorbed_batch", None)  # the kernel, or a failure
    rank, width = 64, 96
    generator = torch.Generator().manual_seed(seq_len)
    query = torch.randn(num_tokens, num_heads, width, generator=generator)
    kv_cache = torch.randn(seq_len + 9, width, generator=generator).to(cache_dtype)
    slots = torch.randperm(seq_len + 9, generator=generator)[:seq_len].int()
    output = mla_absorbed(query, kv_cache, slots, scaling=0.3, kv_lora_rank=rank)
    expected = ref_by_loop(query, kv_cache, slots, 0.3, rank)
    torch.testing.assert_close(output.double(), expected, atol=5e-6, rtol=5e-6)


@pytest.mark.usefixtures("with_kernels")
def test_the_kernel_keeps_scores_of_any_size(monkeypatch):
    monkeypatch.setattr(absorbed, "ref_mla_absorbed_batch", None)
    query = torch.full((1, 2, 96), 1e3)
    kv_cache = torch.linspace(-1e3, 1e3, 40 * 96).view(40, 96)
    output = mla_absorbed(query, kv_cache, torch.arange(40), scaling=1.0, kv_lora_rank=64)
    torch.testing.assert_close(output[0, 0], kv_cache[39, :64])


@pytest.fixture(params=["kernel", "torch"])
def way(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(absorbed, "native_library", lambda: None)
    else:
        request.getfixturevalue("with_kernels")
        monkeypatch.setattr(absorbed, "ref_mla_absorbed_batch", None)


def make_batch(seq_lens, query_lens, num_heads=4, cache_dtype=torch.float32):
    """Return query, cache, req_to_token and its rows for sequences scattered over one cache."""
    generator = torch.Generator().manual_seed(sum(seq_lens) + num_heads)
    query = torch.randn(sum(query_lens), num_heads, 96, generator=generator)
    kv_cache = torch.randn(sum(seq_lens) + 7, 96, generator=generator).to(cache_dtype)
    free = torch.randperm(sum(seq_lens) + 7, generator=generator).int()
    rows = torch.randperm(len(seq_lens) + 2, generator=generator)[: len(seq_lens)]
    req_to_token = torch.full((len(seq_lens) + 2, max(seq_lens) + 3), -5, dtype=torch.int32)
    start = 0
    for row, seq_len in zip(rows.tolist(), seq_lens, strict=True):
        req_to_token[row, :seq_len] = free[start : start + seq_len]
        start += seq_len
    return query, kv_cache, req_to_token, rows


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("cache_dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("seq_lens", "query_lens"),
    [
        pytest.param([5, 1, 70, 300], None, id="decode"),
        pytest.param([9, 1, 70, 300], [4, 1, 3, 4], id="draft tokens at the end"),
        pytest.param([12, 65, 200], [12, 1, 70], id="prompt, decode and cached prefix together"),
        pytest.param([8, 40], [0, 2], id="a sequence without new tokens"),
        pytest.param([1500, 2], None, id="one long sequence, cut into parts"),
    ],
)
def test_a_batch_equals_the_loop_over_its_sequences(seq_lens, query_lens, cache_dtype):
    counts = query_lens or [1] * len(seq_lens)
    query, kv_cache, req_to_token, rows = make_batch(seq_lens, counts, cache_dtype=cache_dtype)
    output = mla_absorbed_batch(
        query,
        kv_cache,
        req_to_token,
        rows,
        torch.tensor(seq_lens),
        None if query_lens is None else torch.tensor(query_lens, dtype=torch.int32),
        scaling=0.3,
        kv_lora_rank=64,
    )
    start = 0
    for row, seq_len, count in zip(rows.tolist(), seq_lens, counts, strict=True):
        part = slice(start, start + count)
        slots = req_to_token[row, :seq_len]
        expected = ref_by_loop(query[part], kv_cache, slots, 0.3, rank=64)
        torch.testing.assert_close(output[part].double(), expected, atol=5e-6, rtol=5e-6)
        start += count


@pytest.mark.usefixtures("way")
def test_draft_tokens_get_what_they_would_get_one_by_one():
    query, kv_cache, req_to_token, rows = make_batch([40], [4])
    arguments = {"scaling": 0.2, "kv_lora_rank": 64}
    together = mla_absorbed_batch(
        query, kv_cache, req_to_token, rows, torch.tensor([40]), torch.tensor([4]), **arguments
    )
    for i in range(4):
        alone = mla_absorbed_batch(
            query[i : i + 1], kv_cache, req_to_token, rows, torch.tensor([37 + i]), **arguments
        )
        torch.testing.assert_close(alone[0], together[i], atol=2e-6, rtol=2e-6)


@pytest.mark.usefixtures("way")
def test_tokens_after_the_last_sequence_are_padding_and_give_zeros():
    query, kv_cache, req_to_token, rows = make_batch([6, 8], [2, 1])
    padded = torch.cat([query, torch.full((3, 4, 96), float("nan"))])
    lens, counts = torch.tensor([6, 8]), torch.tensor([2, 1])
    arguments = {"scaling": 0.2, "kv_lora_rank": 64}
    output = mla_absorbed_batch(padded, kv_cache, req_to_token, rows, lens, counts, **arguments)
    alone = mla_absorbed_batch(query, kv_cache, req_to_token, rows, lens, counts, **arguments)
    assert torch.equal(output, torch.cat([alone, torch.zeros(3, 4, 64)]))


@pytest.mark.usefixtures("way")
def test_a_step_without_sequences_gives_zeros():
    query, kv_cache, req_to_token, _ = make_batch([6], [2])
    none = torch.empty(0, dtype=torch.int64)
    output = mla_absorbed_batch(
        query, kv_cache, req_to_token, none, none, scaling=1.0, kv_lora_rank=64
    )
    assert torch.equal(output, torch.zeros(2, 4, 64))


@pytest.mark.usefixtures("with_kernels")
def test_a_call_of_the_kernel_gives_the_same_bits_again():
    query, kv_cache, req_to_token, rows = make_batch([900, 30], [1, 1], num_heads=16)
    outputs = [
        mla_absorbed_batch(
            query, kv_cache, req_to_token, rows, torch.tensor([900, 30]), scaling=1, kv_lora_rank=64
        )
        for _ in range(5)
    ]
    assert all(torch.equal(output, outputs[0]) for output in outputs)


def test_arguments_of_a_batch_that_do_not_fit_are_named():
    query, kv_cache, req_to_token, rows = make_batch([5, 6], [1, 1])
    lens = torch.tensor([5, 6])

    def call(query=query, kv_cache=kv_cache, table=req_to_token, rows=rows, lens=lens, counts=None):
        return mla_absorbed_batch(
            query, kv_cache, table, rows, lens, counts, scaling=1.0, kv_lora_rank=64
        )

    with pytest.raises(ValueError, match=r"got \[2, 4, 95\] and"):
        call(query=query[..., :95])
    with pytest.raises(ValueError, match=r"req_pool_indices: want \[2\] as seq_lens, got \[1\]"):
        call(rows=rows[:1])
    with pytest.raises(ValueError, match=r"query_lens: want \[2\] as seq_lens, got \[1\]"):
        call(counts=torch.tensor([2]))
    with pytest.raises(ValueError, match="query: want 3 tokens as query_lens, got 2"):
        call(counts=torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"seq_lens: want 1 .* to 9, got 10"):
        call(lens=torch.tensor([5, 10]))
    with pytest.raises(ValueError, match=r"req_pool_indices: want 0\.\.3, got 4"):
        call(rows=torch.tensor([0, 4]))


@pytest.mark.usefixtures("with_kernels")
def test_a_slot_outside_the_cache_is_refused_and_not_read():
    query, kv_cache, req_to_token, rows = make_batch([5], [1])
    req_to_token[rows[0], 2] = kv_cache.shape[0]
    with pytest.raises(ValueError, match=r"req_to_token: want rows 0\.\.11 of kv_cache"):
        mla_absorbed_batch(
            query, kv_cache, req_to_token, rows, torch.tensor([5]), scaling=1.0, kv_lora_rank=64
        )
