"""Which kernel a GPU gets is what the operator said, or an error; tensors on the CPU never ask."""

from dataclasses import replace

import pytest
import torch

from sglang_kimi.kernels.moe import int4_gpu
from sglang_kimi.kernels.moe.int4 import Int4Experts
from sglang_kimi.kernels.moe.int4_gpu import MOE_KERNEL, moe_kernel, unfit_for_triton, uses_triton

EXPERTS = Int4Experts(
    torch.zeros(2, 128, 4, dtype=torch.int32),
    torch.zeros(2, 128, 1, dtype=torch.bfloat16),
    torch.zeros(2, 32, 8, dtype=torch.int32),
    torch.zeros(2, 32, 2, dtype=torch.bfloat16),
)
X = torch.zeros(1, 32, dtype=torch.bfloat16)


@pytest.fixture(autouse=True)
def undecided() -> None:
    int4_gpu.triton_is_chosen.cache_clear()


def test_an_unknown_kernel_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MOE_KERNEL, "cutlass")
    with pytest.raises(ValueError, match=r"want one of auto, marlin, triton, torch, got 'cutlass'"):
        moe_kernel()


def test_tensors_on_the_cpu_are_not_triton_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MOE_KERNEL, "triton")
    assert not uses_triton(EXPERTS, X)


def test_auto_goes_back_to_torch_with_a_warning_and_triton_asked_for_is_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (7, 5))
    assert not int4_gpu.triton_is_chosen("auto", 0)
    assert "compute capability (7, 5)" in caplog.text
    with pytest.raises(RuntimeError, match=r"SGLANG_KIMI_MOE_KERNEL=triton: compute capability"):
        int4_gpu.triton_is_chosen("triton", 0)


def test_auto_takes_triton_where_it_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    assert int4_gpu.triton_is_chosen("auto", 0)
    assert not int4_gpu.triton_is_chosen("torch", 0)


def test_what_the_kernels_cannot_take_is_named() -> None:
    assert unfit_for_triton(X, EXPERTS) == ""
    assert unfit_for_triton(X.float(), EXPERTS) == "x: want bfloat16, got torch.float32"
    wide = torch.zeros(2, 32, 16, dtype=torch.int32)
    strided = replace(EXPERTS, w2=wide[..., ::2])
    assert unfit_for_triton(X, strided) == "w2: want a contiguous tensor"
