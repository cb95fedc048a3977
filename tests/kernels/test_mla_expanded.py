"""MLA with keys and values in full against float64, and against the absorbed form."""

import pytest
import torch

from sglang_kimi.kernels.mla import expanded, expanded_reference
from sglang_kimi.kernels.mla.absorbed import mla_absorbed
from sglang_kimi.kernels.mla.expanded import expanded_is_cheaper, mla_expanded


@pytest.fixture(params=["kernel", "torch"])
def way(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(expanded, "native_library", lambda: None)
    else:
        request.getfixturevalue("with_kernels")
        monkeypatch.setattr(expanded, "ref_mla_expanded", None)


def make(seq_lens, query_lens, num_heads=3, width=96, rank=64):
    generator = torch.Generator().manual_seed(sum(seq_lens))
    query = torch.randn(sum(query_lens), num_heads, width, generator=generator)
    key = torch.randn(sum(seq_lens), num_heads, width, generator=generator)
    both = torch.randn(sum(seq_lens), num_heads, rank + 32, generator=generator)
    return query, key, both[..., 32:], torch.tensor(seq_lens), torch.tensor(query_lens)


def exact(query, key, value, seq_lens, query_lens, scaling):
    query, key, value = query.double(), key.double(), value.double()
    outputs, first_query, first_key = [], 0, 0
    for seq_len, count in zip(seq_lens.tolist(), query_lens.tolist(), strict=True):
        for i in range(count):
            seen = slice(first_key, first_key + seq_len - count + i + 1)
            scores = torch.einsum("hd,khd->hk", query[first_query + i], key[seen])
            weights = torch.softmax(scores * scaling, dim=-1)
            outputs.append(torch.einsum("hk,khd->hd", weights, value[seen]))
        first_query += count
        first_key += seq_len
    return torch.stack(outputs)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("seq_lens", "query_lens"),
    [
        pytest.param([1], [1], id="one token"),
        pytest.param([40, 7], [40, 7], id="two prompts"),
        pytest.param([300, 20, 150], [130, 0, 1], id="cached prefixes"),
    ],
)
def test_output_equals_float64(seq_lens, query_lens):
    arguments = make(seq_lens, query_lens)
    output = mla_expanded(*arguments, scaling=0.3)
    torch.testing.assert_close(output.double(), exact(*arguments, 0.3), atol=5e-6, rtol=5e-6)


@pytest.mark.usefixtures("way")
def test_it_equals_the_absorbed_form_of_the_same_latents():
    generator = torch.Generator().manual_seed(5)
    heads, rank, nope, rope, num_tokens = 4, 64, 32, 32, 50
    latents = torch.randn(num_tokens, rank + rope, generator=generator)
    query = torch.randn(num_tokens, heads, nope + rope, generator=generator)
    w_kc = torch.randn(heads, nope, rank, generator=generator) / 8
    w_vc = torch.randn(heads, rank, 32, generator=generator) / 8
    q_nope, q_pe = query.split([nope, rope], dim=-1)
    absorbed_query = torch.cat([torch.einsum("thn,hnr->thr", q_nope, w_kc), q_pe], dim=-1)
    slots = torch.arange(num_tokens)
    absorbed = mla_absorbed(absorbed_query, latents, slots, scaling=0.2, kv_lora_rank=rank)
    k_nope = torch.einsum("kr,hnr->khn", latents[:, :rank], w_kc)
    k_pe = latents[:, None, rank:].expand(-1, heads, -1)
    value = torch.einsum("kr,hrv->khv", latents[:, :rank], w_vc)
    lens = torch.tensor([num_tokens])
    output = mla_expanded(query, torch.cat([k_nope, k_pe], -1), value, lens, lens, scaling=0.2)
    expected = torch.einsum("thr,hrv->thv", absorbed, w_vc)
    torch.testing.assert_close(output, expected, atol=2e-5, rtol=2e-5)


def test_blocks_of_queries_give_the_same_as_one_block(monkeypatch):
    monkeypatch.setattr(expanded, "native_library", lambda: None)
    arguments = make([90], [60])
    whole = mla_expanded(*arguments, scaling=0.2)
    monkeypatch.setattr(expanded_reference, "MAX_SCORES", 3 * 90 * 7)
    torch.testing.assert_close(mla_expanded(*arguments, scaling=0.2), whole, atol=1e-6, rtol=1e-6)


@pytest.mark.usefixtures("way")
def test_bfloat16_comes_back_as_bfloat16():
    query, key, value, *lens = make([9], [9])
    output = mla_expanded(query.bfloat16(), key.bfloat16(), value.bfloat16(), *lens, scaling=0.2)
    assert output.dtype == torch.bfloat16


def test_expanding_pays_for_new_prompts_and_from_some_170_tokens_after_a_long_prefix():
    assert expanded_is_cheaper(1, 0)
    assert not expanded_is_cheaper(1, 4096)
    assert not expanded_is_cheaper(150, 100_000)
    assert expanded_is_cheaper(190, 100_000)


def test_wrong_arguments_are_named():
    query, key, value, seq_lens, query_lens = make([9, 4], [3, 4])

    def call(query=query, key=key, value=value, seq_lens=seq_lens, query_lens=query_lens):
        mla_expanded(query, key, value, seq_lens, query_lens, scaling=1.0)

    with pytest.raises(ValueError, match=r"key: want \[num_keys, 3, 96\] as query"):
        call(key=key[..., :64])
    with pytest.raises(ValueError, match=r"value: want \[13, 3\] as key, got \[12, 3, 64\]"):
        call(value=value[1:])
    with pytest.raises(ValueError, match="seq_lens: want a sum of 13, got 14"):
        call(seq_lens=seq_lens + torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"query_lens: want 0 to \[9, 4\] .* got \[2, 5\]"):
        call(query_lens=torch.tensor([2, 5]))


@pytest.mark.usefixtures("way")
def test_tokens_after_the_last_sequence_are_padding_and_give_zeros():
    query, key, value, seq_lens, query_lens = make([9, 4], [3, 4])
    padded = torch.cat([query, query[:2]])
    output = mla_expanded(padded, key, value, seq_lens, query_lens, scaling=0.2)
    alone = mla_expanded(query, key, value, seq_lens, query_lens, scaling=0.2)
    assert torch.equal(output, torch.cat([alone, torch.zeros(2, 3, 64)]))
