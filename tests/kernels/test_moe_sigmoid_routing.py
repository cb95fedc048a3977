"""The choice of experts, by the kernel and by plain torch."""

import math

import pytest
import torch

from sglang_kimi.kernels.moe import sigmoid_routing
from sglang_kimi.kernels.moe.sigmoid_routing import route_by_sigmoid

FLOAT32 = 1e-6


@pytest.fixture(params=["kernel", "torch"], autouse=True)
def way(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(sigmoid_routing, "native_library", lambda: None)
    else:
        request.getfixturevalue("with_kernels")


def by_hand(logits, bias, top_k, renormalize):
    """Return {expert: weight} of each token, in float64."""
    rows = []
    for row in logits.double().tolist():
        scores = [1 / (1 + math.exp(-value)) for value in row]
        best = sorted(range(len(row)), key=lambda e: scores[e] + float(bias[e]))[-top_k:]
        total = sum(scores[e] for e in best) if renormalize else 1
        rows.append({e: scores[e] / total for e in best})
    return rows


@pytest.mark.parametrize("num_tokens", [0, 1, 5, 100])
@pytest.mark.parametrize(("num_experts", "top_k"), [(1, 1), (16, 4), (21, 21), (384, 8)])
@pytest.mark.parametrize("renormalize", [True, False])
def test_experts_and_weights_are_those_of_the_definition(
    num_tokens, num_experts, top_k, renormalize
):
    generator = torch.Generator().manual_seed(num_tokens + num_experts)
    logits = 3 * torch.randn(num_tokens, num_experts, generator=generator)
    bias = 0.1 * torch.randn(num_experts, generator=generator)
    weights, ids = route_by_sigmoid(logits, bias, top_k, renormalize=renormalize)
    assert (weights.dtype, ids.dtype) == (torch.float32, torch.int32)
    assert weights.shape == ids.shape == (num_tokens, top_k)
    expected = by_hand(logits, bias, top_k, renormalize)
    for row, chosen, wanted in zip(weights.tolist(), ids.tolist(), expected, strict=True):
        assert dict(zip(chosen, row, strict=True)) == pytest.approx(wanted, rel=FLOAT32)


def test_the_bias_chooses_and_does_not_weigh():
    bias = torch.tensor([0.0, 0.0, 5.0, 5.0])
    weights, ids = route_by_sigmoid(torch.zeros(1, 4), bias, 2, renormalize=False)
    assert sorted(ids[0].tolist()) == [2, 3]
    assert weights.tolist() == [[0.5, 0.5]]


def test_logits_that_are_no_numbers_still_give_different_experts():
    _, ids = route_by_sigmoid(torch.full((1, 16), torch.nan), torch.zeros(16), 4, renormalize=True)
    chosen = ids[0].tolist()
    assert len(set(chosen)) == 4
    assert all(0 <= expert < 16 for expert in chosen)


def test_experts_without_any_score_give_weights_of_zero_and_no_nan():
    weights, _ = route_by_sigmoid(torch.full((1, 4), -200.0), torch.zeros(4), 2, renormalize=True)
    assert bool(weights.isfinite().all())


@pytest.mark.parametrize(
    ("name", "num_bias", "top_k"), [("correction_bias", 3, 2), ("top_k", 4, 5)]
)
def test_an_argument_that_does_not_fit_is_named(name, num_bias, top_k):
    with pytest.raises(ValueError, match=f"{name}: want"):
        route_by_sigmoid(torch.zeros(2, 4), torch.zeros(num_bias), top_k, renormalize=True)
