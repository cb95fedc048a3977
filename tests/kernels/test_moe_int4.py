"""The INT4 expert op against a float64 loop over tokens, slots, rows and groups."""

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from sglang_kimi.kernels.moe import int4, int4_reference
from sglang_kimi.kernels.moe.int4 import Int4Experts, moe_int4, pack_int4

# Largest error over 10 seeds of the shapes below, relative to the largest output: 4.9e-7 (float32
# accumulation of up to 160 terms) and 3.6e-3 (bf16 result: half an ulp is up to 2^-8 of the value).
FLOAT32_ERROR = 2e-6
# The kernel rounds a group's activations to 16 bits: 8e-5 over 10 seeds, at the largest output.
NATIVE_ERROR = 3e-4
BF16_ERROR = 5e-3

SHAPES = [  # num_tokens, hidden_size, moe_intermediate_size, num_local_experts, top_k
    (0, 64, 32, 4, 2),
    (1, 256, 128, 16, 4),
    (17, 64, 32, 5, 3),
    (3, 160, 96, 1, 1),
    (17, 32, 160, 7, 7),
]


def make_experts(hidden: int, inter: int, num: int, seed: int) -> Int4Experts:
    generator = torch.Generator().manual_seed(seed)

    def packed(*shape: int) -> Tensor:
        q = torch.randint(-8, 8, shape, generator=generator, dtype=torch.int8)
        words: Tensor = pack_int4(q)
        return words

    def scale(*shape: int) -> Tensor:
        values: Tensor = 0.01 + 0.05 * torch.rand(shape, generator=generator)
        return values.bfloat16()

    return Int4Experts(
        w13=packed(num, 2 * inter, hidden),
        w13_scale=scale(num, 2 * inter, hidden // 32),
        w2=packed(num, hidden, inter),
        w2_scale=scale(num, hidden, inter // 32),
    )


def make_routing(num_tokens: int, num: int, top_k: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(num_tokens, num, generator=generator)
    ids = scores.topk(top_k).indices.int()
    return ids, torch.rand(num_tokens, top_k, generator=generator)


def naive_matrix(packed: Tensor, scale: Tensor) -> list[list[float]]:
    """Decode one matrix with Python integers, from the words' bits."""
    rows = []
    for words, scales in zip(packed.tolist(), scale.double().tolist(), strict=True):
        codes = [(word >> (4 * i)) & 15 for word in words for i in range(8)]
        rows.append([(code - 8) * scales[k // 32] for k, code in enumerate(codes)])
    return rows


def naive_moe(x: Tensor, experts: Int4Experts, ids: Tensor, weights: Tensor) -> Tensor:
    out = torch.zeros(x.shape, dtype=torch.float64)
    inter = experts.moe_intermediate_size

    @cache
    def matrices(expert_id: int) -> tuple[Tensor, Tensor]:
        w13 = naive_matrix(experts.w13[expert_id], experts.w13_scale[expert_id])
        w2 = naive_matrix(experts.w2[expert_id], experts.w2_scale[expert_id])
        return torch.tensor(w13).double(), torch.tensor(w2).double()

    for token, (expert_ids, token_weights) in enumerate(
        zip(ids.tolist(), weights.double().tolist(), strict=True)
    ):
        for expert_id, weight in zip(expert_ids, token_weights, strict=True):
            if expert_id < 0:
                continue
            w13, w2 = matrices(expert_id)
            both = w13 @ x[token].double()
            activated = [
                gate / (1 + math.exp(-gate)) * up
                for gate, up in zip(both[:inter].tolist(), both[inter:].tolist(), strict=True)
            ]
            out[token] += weight * (w2 @ torch.tensor(activated, dtype=torch.float64))
    return out


def assert_close(found: Tensor, expected: Tensor, relative_error: float) -> None:
    difference = (found.double() - expected).abs()
    limit = relative_error * max(float(expected.abs().max()), 1e-30) if expected.numel() else 0.0
    if difference.numel() and float(difference.max()) > limit:
        token, channel = divmod(int(difference.argmax()), found.shape[1])
        pytest.fail(
            f"worst at token {token}, channel {channel}: found {float(found[token, channel])}, "
            f"expected {float(expected[token, channel])}, limit {limit}"
        )


@pytest.fixture(params=["all pairs at once", "expert by expert", "native"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """Run a test through the kernel or either way of the reference; return its float32 error."""
    if request.param == "native":
        request.getfixturevalue("with_kernels")
        return NATIVE_ERROR
    monkeypatch.setattr(int4, "native_library", lambda: None)
    limit = 1 << 40 if request.param == "all pairs at once" else -1
    monkeypatch.setattr(int4_reference, "MAX_GATHERED_WEIGHTS", limit)
    return FLOAT32_ERROR


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_equals_the_float64_loop(
    shape: tuple[int, int, int, int, int], dtype: torch.dtype, way: float
) -> None:
    num_tokens, hidden, inter, num, top_k = shape
    experts = make_experts(hidden, inter, num, seed=1)
    x = torch.randn(num_tokens, hidden, generator=torch.Generator().manual_seed(2)).to(dtype)
    ids, weights = make_routing(num_tokens, num, top_k, seed=3)
    out = moe_int4(x, experts, ids, weights)
    assert out.dtype == dtype
    assert out.shape == x.shape
    error = way if dtype == torch.float32 else BF16_ERROR
    assert_close(out, naive_moe(x, experts, ids, weights), error)


def test_slots_below_zero_are_skipped_and_a_token_without_experts_gives_zeros(way: float) -> None:
    experts = make_experts(64, 32, 4, seed=4)
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(5))
    ids = torch.tensor([[-1, -1], [2, -1], [-7, 0]])
    weights = torch.full((3, 2), 0.5)
    out = moe_int4(x, experts, ids, weights)
    assert torch.equal(out[0], torch.zeros(64))
    assert_close(out, naive_moe(x, experts, ids, weights), way)


@pytest.mark.usefixtures("way")
def test_a_skipped_slot_does_not_let_another_experts_infinity_through() -> None:
    experts = make_experts(64, 32, 2, seed=6)
    broken = experts.w2_scale.clone()
    broken[0] = math.inf
    experts = replace(experts, w2_scale=broken)
    x = torch.randn(1, 64, generator=torch.Generator().manual_seed(7))
    out = moe_int4(x, experts, torch.tensor([[-1, 1]]), torch.tensor([[math.nan, 1.0]]))
    assert bool(out.isfinite().all())


def test_all_tokens_may_choose_one_expert_and_others_get_none(way: float) -> None:
    experts = make_experts(64, 64, 6, seed=8)
    x = torch.randn(17, 64, generator=torch.Generator().manual_seed(9))
    ids = torch.full((17, 1), 5, dtype=torch.int32)
    weights = torch.ones(17, 1)
    assert_close(moe_int4(x, experts, ids, weights), naive_moe(x, experts, ids, weights), way)


@pytest.mark.usefixtures("way")
def test_reordering_the_tokens_reorders_the_result() -> None:
    experts = make_experts(64, 32, 8, seed=10)
    x = torch.randn(17, 64, generator=torch.Generator().manual_seed(11))
    ids, weights = make_routing(17, 8, 4, seed=12)
    order = torch.randperm(17, generator=torch.Generator().manual_seed(13))
    out = moe_int4(x, experts, ids, weights)
    shuffled = moe_int4(x[order], experts, ids[order], weights[order])
    torch.testing.assert_close(shuffled, out[order], atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("way")
def test_ranks_that_split_the_experts_sum_to_the_whole() -> None:
    experts = make_experts(64, 32, 8, seed=14)
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(15))
    ids, weights = make_routing(5, 8, 3, seed=16)
    total = torch.zeros(5, 64)
    for first in (0, 4):
        local = Int4Experts(
            experts.w13[first : first + 4],
            experts.w13_scale[first : first + 4],
            experts.w2[first : first + 4],
            experts.w2_scale[first : first + 4],
        )
        local_ids = torch.where((ids >= first) & (ids < first + 4), ids - first, -1)
        total += moe_int4(x, local, local_ids, weights)
    torch.testing.assert_close(total, moe_int4(x, experts, ids, weights), atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("way")
def test_ranks_that_split_each_expert_sum_to_the_whole_within_the_rounding_of_float32() -> None:
    experts = make_experts(96, 64, 4, seed=23)
    x = torch.randn(9, 96, generator=torch.Generator().manual_seed(24))
    ids, weights = make_routing(9, 4, 2, seed=25)
    total = torch.zeros(9, 96, dtype=torch.float64)
    for start in (0, 32):
        inter = [*range(start, start + 32), *range(64 + start, 96 + start)]  # of gate, of up
        share = Int4Experts(
            experts.w13[:, inter],
            experts.w13_scale[:, inter],
            experts.w2[..., start // 8 : start // 8 + 4].contiguous(),
            experts.w2_scale[..., start // 32 : start // 32 + 1].contiguous(),
        )
        total += moe_int4(x, share, ids, weights)
    assert_close(moe_int4(x, experts, ids, weights), total, FLOAT32_ERROR)


def test_a_token_gives_the_same_alone_as_among_many(way: float) -> None:
    experts = make_experts(96, 160, 3, seed=26)
    x = torch.randn(31, 96, generator=torch.Generator().manual_seed(27))
    ids, weights = make_routing(31, 3, 2, seed=28)
    together = moe_int4(x, experts, ids, weights)
    alone = [moe_int4(x[t : t + 1], experts, ids[t : t + 1], weights[t : t + 1]) for t in range(31)]
    assert_close(together, torch.cat(alone).double(), way)


@pytest.mark.usefixtures("with_kernels")
def test_an_activation_that_is_no_number_does_not_become_one() -> None:
    experts = make_experts(64, 32, 2, seed=29)
    x = torch.ones(3, 64)
    x[0, 5], x[1, 40] = math.nan, math.inf
    out = moe_int4(x, experts, torch.tensor([[0], [1], [1]]), torch.ones(3, 1))
    assert not out[:2].isfinite().any()
    assert bool(out[2].isfinite().all())


def test_rows_of_a_wider_tensor_are_accepted() -> None:
    experts = make_experts(64, 32, 4, seed=17)
    wide = torch.randn(6, 128, generator=torch.Generator().manual_seed(18))
    ids, weights = make_routing(6, 4, 2, seed=19)
    assert torch.equal(
        moe_int4(wide[:, :64], experts, ids, weights),
        moe_int4(wide[:, :64].contiguous(), experts, ids, weights),
    )


def test_wrong_arguments_are_named() -> None:
    experts = make_experts(64, 32, 4, seed=20)
    x = torch.zeros(2, 64)
    ids, weights = make_routing(2, 4, 2, seed=21)
    with pytest.raises(ValueError, match=r"x: want \[num_tokens, 64\], got \[2, 32\]"):
        moe_int4(x[:, :32], experts, ids, weights)
    with pytest.raises(ValueError, match="x: want bfloat16 or float32"):
        moe_int4(x.half(), experts, ids, weights)
    with pytest.raises(ValueError, match=r"topk_ids: want \[2, top_k\]"):
        moe_int4(x, experts, ids[:1], weights)
    with pytest.raises(ValueError, match="topk_ids: want int32 or int64"):
        moe_int4(x, experts, ids.float(), weights)
    with pytest.raises(ValueError, match=r"topk_weights: want \[2, 2\]"):
        moe_int4(x, experts, ids, weights[:, :1])
    with pytest.raises(IndexError):
        moe_int4(x, experts, ids + 4, weights)


def test_experts_whose_tensors_do_not_fit_each_other_are_refused() -> None:
    experts = make_experts(64, 32, 4, seed=22)
    with pytest.raises(ValueError, match=r"w13: want \[4, 64, 8\] torch.int32, got \[4, 32, 8\]"):
        replace(experts, w13=experts.w13[:, :32])
    with pytest.raises(ValueError, match=r"w2_scale: want .* torch.bfloat16, got .* torch.float32"):
        replace(experts, w2_scale=experts.w2_scale.float())
    with pytest.raises(ValueError, match="moe_intermediate_size: must be a multiple of group_size"):
        replace(experts, w2=experts.w2[..., :2])
