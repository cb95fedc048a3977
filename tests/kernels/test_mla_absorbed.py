"""Absorbed MLA against a float64 loop over tokens, heads and keys."""

import pytest
import torch

from sglang_kimi.kernels.mla import absorbed, absorbed_reference
from sglang_kimi.kernels.mla.absorbed import mla_absorbed

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
    with pytest.raises(ValueError, match="slots: want at least 4"):
        mla_absorbed(query, kv_cache, slots[:3], scaling=1.0, kv_lora_rank=KV_LORA_RANK)


@pytest.mark.usefixtures("with_kernels")
@pytest.mark.parametrize("cache_dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("num_tokens", "seq_len", "num_heads"),
    [(1, 1, 2), (1, 16, 4), (1, 333, 16), (3, 20, 6), (40, 40, 8), (70, 257, 64), (129, 129, 2)],
)
def test_the_kernel_equals_the_loop(num_tokens, seq_len, num_heads, cache_dtype, monkeypatch):
    monkeypatch.setattr(absorbed, "ref_mla_absorbed", None)  # the kernel, or a failure
    rank, width = 64, 72
    generator = torch.Generator().manual_seed(seq_len)
    query = torch.randn(num_tokens, num_heads, width, generator=generator)
    kv_cache = torch.randn(seq_len + 9, width, generator=generator).to(cache_dtype)
    slots = torch.randperm(seq_len + 9, generator=generator)[:seq_len].int()
    output = mla_absorbed(query, kv_cache, slots, scaling=0.3, kv_lora_rank=rank)
    expected = ref_by_loop(query, kv_cache, slots, 0.3, rank)
    torch.testing.assert_close(output.double(), expected, atol=5e-6, rtol=5e-6)


@pytest.mark.usefixtures("with_kernels")
def test_the_kernel_keeps_scores_of_any_size(monkeypatch):
    monkeypatch.setattr(absorbed, "ref_mla_absorbed", None)
    query = torch.full((1, 2, 72), 1e3)
    kv_cache = torch.linspace(-1e3, 1e3, 40 * 72).view(40, 72)
    output = mla_absorbed(query, kv_cache, torch.arange(40), scaling=1.0, kv_lora_rank=64)
    torch.testing.assert_close(output[0, 0], kv_cache[39, :64])
