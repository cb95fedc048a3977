"""What SGLang's Marlin kernel is handed are the checkpoint's weights, where Marlin is chosen."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from sglang_kimi.kernels.moe.int4 import Int4Experts, dequantize_int4, quantize_int4
from sglang_kimi.kernels.moe.int4_gpu import MOE_KERNEL
from sglang_kimi.kernels.moe.int4_reference import ref_moe_int4
from sglang_kimi.moe import marlin
from sglang_kimi.moe.marlin import MarlinExperts, marlin_is_chosen
from sglang_kimi.seams import SEAMS, resolve

HIDDEN, INTER, NUM_EXPERTS = 128, 64, 3
GPU = torch.device("cuda", 0)
BF16_ERROR = 5e-3  # a bf16 result, as in the kernels' own tests


def make_experts() -> Int4Experts:
    generator = torch.Generator().manual_seed(3)
    w13 = quantize_int4(torch.randn(NUM_EXPERTS, 2 * INTER, HIDDEN, generator=generator))
    w2 = quantize_int4(torch.randn(NUM_EXPERTS, HIDDEN, INTER, generator=generator))
    return Int4Experts(*w13, *w2)


class Double:
    """SGLang's four functions, without the tiles: repacking keeps GPTQ's layout."""

    @staticmethod
    def repack(b_q_weight: Tensor, perm: Tensor, size_k: int, size_n: int, num_bits: int) -> Tensor:
        assert b_q_weight.is_contiguous()
        assert b_q_weight.shape == (NUM_EXPERTS, size_k // 8, size_n)
        assert (perm.shape, num_bits) == ((NUM_EXPERTS, 0), 4)
        return b_q_weight

    @staticmethod
    def scales(s: Tensor, size_k: int, size_n: int, group_size: int) -> Tensor:
        assert s.is_contiguous()
        assert s.shape == (NUM_EXPERTS, size_k // group_size, size_n)
        return s

    @staticmethod
    def moe(**given: Any) -> Tensor:
        """Compute what the kernel would, from the arguments that it would get."""
        assert given["topk_ids"].dtype == torch.int32
        assert given["gating_output"].shape[0] == given["hidden_states"].shape[0]
        experts = Int4Experts(
            *(given[n].mT.contiguous() for n in ("w1", "w1_scale", "w2", "w2_scale"))
        )
        return ref_moe_int4(
            given["hidden_states"], experts, given["topk_ids"], given["topk_weights"]
        )


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the doubles in the place of SGLang's functions, called as those may be called."""
    functions = {
        "marlin_repack": Double.repack,
        "marlin_scales": Double.scales,
        "marlin_moe": Double.moe,
        "marlin_workspace": lambda device, max_blocks_per_sm: torch.zeros(1),
    }

    def require(name: str) -> Any:
        signature = inspect.signature(resolve(SEAMS[name]))

        def call(*args: Any, **kwargs: Any) -> Any:
            signature.bind(*args, **kwargs)
            return functions[name](*args, **kwargs)

        return call

    monkeypatch.setattr(marlin, "require", require)


@pytest.mark.usefixtures("doubles")
def test_the_kernel_gets_the_checkpoints_weights_and_this_ranks_ids() -> None:
    experts = make_experts()
    x = torch.randn(5, HIDDEN, generator=torch.Generator().manual_seed(1)).bfloat16()
    ids = torch.tensor([[0, 2], [1, -1], [-1, -1], [2, 1], [0, 1]])
    weights = torch.rand(5, 2, generator=torch.Generator().manual_seed(2))
    found = MarlinExperts(experts).run(x, ids, weights).float()
    expected = ref_moe_int4(x.float(), experts, ids, weights)
    assert float((found - expected).abs().max()) <= BF16_ERROR * float(expected.abs().max())
    assert not found[2].any()


@pytest.mark.usefixtures("doubles")
def test_no_tokens_are_no_call() -> None:
    run = MarlinExperts(make_experts()).run
    nothing = torch.zeros(0, HIDDEN, dtype=torch.bfloat16)
    assert run(nothing, torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, 2)).shape == (
        0,
        HIDDEN,
    )


def test_gptqs_layout_is_the_checkpoints_with_inputs_first() -> None:
    packed, scale = quantize_int4(torch.randn(16, 64, generator=torch.Generator().manual_seed(4)))
    expected = dequantize_int4(packed, scale)
    words = packed.mT.contiguous()  # word [k // 8, n] holds inputs k .. k + 7 of output n
    for k in range(64):
        code = (words[k // 8] >> (4 * (k % 8))) & 15
        assert torch.equal((code - 8) * scale[:, k // 32].float(), expected[:, k])


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marlin, "_capability", lambda device: (9, 0))


def chosen(
    device: torch.device = GPU,
    dtype: torch.dtype = torch.bfloat16,
    sizes: tuple[int, int] = (7168, 2048),
    is_standard: bool = True,
) -> bool:
    return marlin_is_chosen(device, dtype, sizes, is_standard=is_standard)


@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"device": torch.device("cpu")}, "the experts are on cpu"),
        ({"dtype": torch.float32}, "--dtype: want bfloat16"),
        ({"sizes": (7168, 32)}, "want multiples of 128 and 64"),
        ({"is_standard": False}, "an all-to-all"),
    ],
    ids=str,
)
def test_auto_leaves_marlin_and_marlin_asked_for_is_an_error_where_it_cannot_run(
    change: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not chosen(**change)
    monkeypatch.setenv(MOE_KERNEL, "marlin")
    with pytest.raises(RuntimeError, match=f"SGLANG_KIMI_MOE_KERNEL=marlin: .*{reason}"):
        chosen(**change)


@pytest.mark.usefixtures("hopper")
def test_auto_takes_marlin_before_blackwell_and_never_where_another_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert chosen()
    for other in ("triton", "torch"):
        monkeypatch.setenv(MOE_KERNEL, other)
        assert not chosen()
    monkeypatch.setenv(MOE_KERNEL, "auto")
    monkeypatch.setattr(marlin, "_capability", lambda device: (10, 0))
    assert not chosen()
    monkeypatch.setenv(MOE_KERNEL, "marlin")
    assert chosen()
