"""Experts whose tensors lie apart, as in a mapped checkpoint, do the same as stacked ones."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sglang_kimi.kernels.moe import int4
from sglang_kimi.kernels.moe.int4 import Int4Experts, SeparateInt4Experts, moe_int4

from .test_moe_int4 import make_experts, make_routing


def moved(tensor: Tensor, offset: int) -> Tensor:
    """Copy a tensor to memory of its own that starts `offset` bytes past an aligned address."""
    store = torch.zeros(tensor.nbytes + 64, dtype=torch.uint8)
    start = -store.data_ptr() % 64 + offset
    copy = torch.frombuffer(
        store.numpy(), dtype=tensor.dtype, count=tensor.numel(), offset=start
    ).view(tensor.shape)
    return copy.copy_(tensor)


def separated(experts: Int4Experts, offset: int) -> SeparateInt4Experts:
    rows = [experts.one(expert_id) for expert_id in range(experts.num_local_experts)]
    return SeparateInt4Experts(
        *([moved(t, offset) for t in column] for column in zip(*rows, strict=True))
    )


@pytest.mark.parametrize("offset", [0, 2, 8])
@pytest.mark.parametrize("num_tokens", [1, 30])
@pytest.mark.parametrize("backend", ["native", "torch"])
def test_separate_tensors_give_what_stacked_ones_give(
    backend: str,
    num_tokens: int,
    offset: int,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if backend == "native":
        request.getfixturevalue("with_kernels")
        monkeypatch.setattr(int4, "ref_moe_int4", None)
    else:
        monkeypatch.setattr(int4, "native_library", lambda: None)
    experts = make_experts(96, 64, 5, seed=1)
    x = torch.randn(num_tokens, 96, generator=torch.Generator().manual_seed(2))
    ids, weights = make_routing(num_tokens, 5, 3, seed=3)
    found = moe_int4(x, separated(experts, offset), ids, weights)
    torch.testing.assert_close(found, moe_int4(x, experts, ids, weights), atol=1e-6, rtol=1e-6)


def test_a_tensor_with_gaps_between_its_rows_is_left_to_torch() -> None:
    experts = separated(make_experts(64, 32, 2, seed=4), 0)
    wide = torch.zeros(32, 16, dtype=torch.int32)
    wide[:, :8] = experts.gate[1]
    gaps = replace(experts, gate=[experts.gate[0], wide[:, :8]])
    assert gaps.addresses is None
    x, (ids, weights) = torch.ones(2, 64), make_routing(2, 2, 2, seed=5)
    expected = moe_int4(x, experts, ids, weights)
    torch.testing.assert_close(moe_int4(x, gaps, ids, weights), expected, atol=1e-4, rtol=1e-3)


def test_the_tensor_that_does_not_fit_is_named_with_its_expert() -> None:
    experts = separated(make_experts(64, 32, 3, seed=6), 0)
    short = [experts.up[0], experts.up[1][:16], experts.up[2]]
    with pytest.raises(ValueError, match=r"up\[1\]: want \[32, 8\] torch.int32, got \[16, 8\]"):
        replace(experts, up=short)
    with pytest.raises(ValueError, match="gate_scale: want 3 tensors as of down, got 2"):
        replace(experts, gate_scale=experts.gate_scale[:2])
    with pytest.raises(ValueError, match="down: want tensors of two dimensions, got none"):
        replace(experts, down=[])
