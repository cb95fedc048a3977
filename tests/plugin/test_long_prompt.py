"""Long prompts on the CPU: keys in full where that is less work, with the same result."""

from types import SimpleNamespace

import pytest
import torch

from sglang_kimi.cpu import long_prompt
from sglang_kimi.cpu.long_prompt import attend_expanded, expands
from sglang_kimi.kernels.mla.absorbed import mla_absorbed_batch

RANK, NOPE, ROPE, V, HEADS = 64, 32, 32, 32, 4


def make_attention(weight):
    return SimpleNamespace(
        kv_lora_rank=RANK,
        qk_nope_head_dim=NOPE,
        qk_head_dim=NOPE + ROPE,
        v_head_dim=V,
        num_local_heads=HEADS,
        kv_b_proj=lambda x: (x @ weight.T, None),
        attn_mqa=SimpleNamespace(scaling=0.2),
    )


def make_batch(prefix_lens, new_lens, is_extend=True):
    return SimpleNamespace(
        forward_mode=SimpleNamespace(is_extend_without_speculative=lambda: is_extend),
        extend_prefix_lens_cpu=prefix_lens,
        extend_seq_lens_cpu=new_lens,
        extend_seq_lens=torch.tensor(new_lens),
        seq_lens=torch.tensor(prefix_lens) + torch.tensor(new_lens),
        req_pool_indices=torch.arange(len(new_lens)).flip(0),
    )


@pytest.mark.parametrize(
    ("prefix_lens", "new_lens"), [([0, 0], [5, 40]), ([7, 0], [30, 3]), ([64, 10], [1, 9])]
)
def test_result_is_that_of_the_absorbed_form(prefix_lens, new_lens):
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(HEADS * (NOPE + V), RANK, generator=generator) / 8
    attention, batch = make_attention(weight), make_batch(prefix_lens, new_lens)
    cache = torch.randn(300, RANK + ROPE, generator=generator)
    table = torch.randperm(300, generator=generator)[:200].view(2, 100)
    query = torch.randn(sum(new_lens), HEADS, NOPE + ROPE, generator=generator)
    new_slots = torch.cat(
        [
            table[row, prefix : prefix + new]
            for row, prefix, new in zip((1, 0), prefix_lens, new_lens, strict=True)
        ]
    )
    output = attend_expanded(attention, query, cache[new_slots], batch, cache, table)
    per_head = weight.view(HEADS, NOPE + V, RANK)
    q_nope = torch.einsum("thn,hnr->thr", query[..., :NOPE], per_head[:, :NOPE])
    absorbed = mla_absorbed_batch(
        torch.cat([q_nope, query[..., NOPE:]], dim=-1),
        cache,
        table,
        batch.req_pool_indices,
        batch.seq_lens,
        batch.extend_seq_lens,
        scaling=0.2,
        kv_lora_rank=RANK,
    )
    expected = torch.einsum("thr,hvr->thv", absorbed, per_head[:, NOPE:])
    torch.testing.assert_close(output, expected, atol=2e-5, rtol=2e-5)


def test_new_prompts_expand_and_decoding_and_short_turns_after_long_prefixes_absorb():
    attention = make_attention(None)
    assert expands(attention, make_batch([0], [4096]))
    assert expands(attention, make_batch([2048, 0], [2048, 10]))
    assert not expands(attention, make_batch([4096], [20]))
    assert not expands(attention, make_batch([0], [4096], is_extend=False))


def test_keys_that_would_take_too_much_memory_stay_absorbed(monkeypatch):
    attention = make_attention(None)
    monkeypatch.setattr(long_prompt, "MAX_BYTES", 4 * 1000 * HEADS * (NOPE + V + NOPE + ROPE))
    assert expands(attention, make_batch([400], [600]))
    assert not expands(attention, make_batch([401], [600]))
