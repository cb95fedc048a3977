"""RMSNorm against float64, by the kernel and by plain torch."""

import pytest
import torch

from sglang_kimi.kernels.norm import rms_norm as module
from sglang_kimi.kernels.norm.rms_norm import rms_norm

EPS = 1e-5
FLOAT32 = 1e-6  # some roundings of 2^-24 each, and the square root's


@pytest.fixture(params=["kernel", "torch"], autouse=True)
def way(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(module, "native_library", lambda: None)
    else:
        request.getfixturevalue("with_kernels")


def exact_norm(total, weight):
    total = total.double()
    return total / (total.pow(2).mean(-1, keepdim=True) + EPS).sqrt() * weight.double()


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@pytest.mark.parametrize("num_rows", [0, 1, 5, 300])
@pytest.mark.parametrize("with_residual", [False, True])
def test_norm_and_sum_equal_float64(num_rows, size, with_residual):
    generator = torch.Generator().manual_seed(size + num_rows)
    x, residual = torch.randn(2, num_rows, size, generator=generator)
    weight = torch.randn(size, generator=generator)
    normed, total = rms_norm(x, weight, EPS, residual if with_residual else None)
    assert torch.equal(total, x + residual if with_residual else x)
    torch.testing.assert_close(
        normed.double(), exact_norm(total, weight), rtol=FLOAT32, atol=FLOAT32
    )


def test_rows_of_a_wider_tensor_are_taken_as_they_lie():
    wide, weight = torch.randn(4, 100), torch.randn(40)
    normed, _ = rms_norm(wide[:, 10:50], weight, EPS)
    assert torch.equal(normed, rms_norm(wide[:, 10:50].contiguous(), weight, EPS)[0])


def test_bfloat16_rows_give_bfloat16():
    x, weight = torch.randn(3, 64).bfloat16(), torch.ones(64).bfloat16()
    normed, total = rms_norm(x, weight, EPS, x)
    assert normed.dtype == total.dtype == torch.bfloat16


def test_a_weight_or_residual_of_another_shape_is_named():
    x = torch.ones(2, 4)
    with pytest.raises(ValueError, match=r"weight: want \[4\].*got \[3\]"):
        rms_norm(x, torch.ones(3), EPS)
    with pytest.raises(ValueError, match=r"residual: want \[2, 4\] as x, got \[1, 4\]"):
        rms_norm(x, torch.ones(4), EPS, torch.ones(1, 4))
