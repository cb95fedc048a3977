"""INT4 experts behind DeepEP's dispatch give what one rank with all experts gives."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sglang.srt.layers.moe.moe_runner.base import MoeRunnerConfig, register_fused_func
from sglang.srt.layers.moe.utils import DeepEPMode, DispatcherOutputDtype, MoeA2ABackend
from torch import Tensor

from sglang_kimi.kernels.moe.int4 import Int4Experts, quantize_int4
from sglang_kimi.kernels.moe.int4_reference import ref_moe_int4
from sglang_kimi.moe import deepep, runner
from sglang_kimi.moe.runner import Int4ExpertsMethod, Int4QuantInfo, Int4RunnerCore

from .deepep_double import LowLatencyDouble, NormalDouble, RankTokens

HIDDEN, INTER, NUM_EXPERTS, TOP_K, NUM_RANKS = 96, 64, 8, 3, 4
# Every rank's part and every slot's output are rounded to bf16, then the sum: up to 4 times 2^-9.
TOLERANCE = 8e-3

# By rank, three places each: experts 0, 3, 5 and 6 have a second copy on another rank.
REDUNDANT = [0, 1, 2, 3, 4, 5, 6, 7, 0, 3, 5, 6]


def make_experts(logical: list[int]) -> Int4Experts:
    """Return the weights of these logical experts, the same for a number wherever it stands."""
    generator = torch.Generator().manual_seed(3)
    w13, w13_scale = quantize_int4(torch.randn(NUM_EXPERTS, 2 * INTER, HIDDEN, generator=generator))
    w2, w2_scale = quantize_int4(torch.randn(NUM_EXPERTS, HIDDEN, INTER, generator=generator))
    return Int4Experts(w13[logical], w13_scale[logical], w2[logical], w2_scale[logical])


def held(experts: Int4Experts, lie_apart: bool = False) -> Any:
    """Return what a layer's weights show to its runner."""
    return SimpleNamespace(packed=lambda: experts, lie_apart=lie_apart)


class Ranks:
    """Tokens and experts of four ranks, and what one rank with all experts makes of the tokens."""

    def __init__(self, num_tokens: list[int], physical: list[int], seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.num_local = len(physical) // NUM_RANKS
        self.tokens: list[RankTokens] = []
        self.expected: list[Tensor] = []
        for count in num_tokens:
            x = torch.randn(count, HIDDEN, generator=generator).bfloat16()
            logical = torch.rand(count, NUM_EXPERTS, generator=generator).topk(TOP_K).indices
            weights = torch.rand(count, TOP_K, generator=generator)
            if count:
                logical[0, 1] = -1  # a slot that padding or a mask switched off
            ids = self._places(logical, physical)
            self.tokens.append(RankTokens(x, ids, weights))
            experts = make_experts(list(range(NUM_EXPERTS)))
            self.expected.append(ref_moe_int4(x, experts, logical, weights))
        local = [physical[r * self.num_local : (r + 1) * self.num_local] for r in range(NUM_RANKS)]
        self.experts = [make_experts(one) for one in local]

    @staticmethod
    def _places(logical: Tensor, physical: list[int]) -> Tensor:
        """Send each logical expert to its copies in turn, as EPLB's map does."""
        copies = {
            expert: itertools.cycle([p for p, one in enumerate(physical) if one == expert])
            for expert in range(NUM_EXPERTS)
        }
        places = [next(copies[e]) if e >= 0 else -1 for e in logical.flatten().tolist()]
        return torch.tensor(places, dtype=torch.int32).view(logical.shape)

    def run(self, double: NormalDouble | LowLatencyDouble) -> list[Tensor]:
        core = Int4RunnerCore(MoeRunnerConfig())
        inputs = [
            core.run_from_dispatch(output, Int4QuantInfo(held(experts)), core.config)
            for output, experts in zip(double.dispatch(), self.experts, strict=True)
        ]
        return double.combine(inputs)

    def assert_as_one_rank(self, found: list[Tensor]) -> None:
        for one, expected in zip(found, self.expected, strict=True):
            assert one.shape == expected.shape
            if expected.numel():
                limit = TOLERANCE * float(expected.float().abs().max())
                assert float((one.float() - expected.float()).abs().max()) <= limit


TOKENS = {"some": [5, 1, 9, 2], "one rank alone": [0, 0, 4, 0], "ranks without": [3, 0, 17, 0]}
PLACES = {"each once": list(range(NUM_EXPERTS)), "redundant copies": REDUNDANT}


@pytest.mark.parametrize("physical", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("num_tokens", TOKENS.values(), ids=TOKENS)
def test_normal_mode_equals_one_rank(num_tokens: list[int], physical: list[int]) -> None:
    ranks = Ranks(num_tokens, physical)
    ranks.assert_as_one_rank(ranks.run(NormalDouble(ranks.tokens, ranks.num_local)))


@pytest.mark.parametrize("physical", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("num_tokens", TOKENS.values(), ids=TOKENS)
def test_low_latency_equals_one_rank(num_tokens: list[int], physical: list[int]) -> None:
    ranks = Ranks(num_tokens, physical)
    ranks.assert_as_one_rank(ranks.run(LowLatencyDouble(ranks.tokens, ranks.num_local, 32)))


def test_a_rank_that_receives_nothing_hands_back_no_rows() -> None:
    ranks = Ranks([1, 0, 0, 0], PLACES["each once"])
    ranks.tokens[0].topk_ids[:] = torch.tensor([0, -1, 1])  # both on rank 0
    double = NormalDouble(ranks.tokens, ranks.num_local)
    received = double.dispatch()[1]
    assert received.num_recv_tokens_per_expert == [0, 0]
    output = deepep.run_deepep(received, ranks.experts[1])
    assert output.hidden_states.shape == (0, HIDDEN)


def test_tokens_that_were_quantised_on_their_way_are_refused() -> None:
    ranks = Ranks([2, 2, 2, 2], PLACES["each once"])
    output = NormalDouble(ranks.tokens, ranks.num_local).dispatch()[0]
    with pytest.raises(ValueError, match="--deepep-dispatcher-output-dtype"):
        deepep.run_deepep(output._replace(hidden_states_scale=torch.ones(1)), ranks.experts[0])


def test_sglang_still_takes_no_fused_function_of_an_out_of_tree_backend() -> None:
    # When this fails, DeepEP may go through it; now the runner core branches by the format.
    with pytest.raises(ValueError, match="kimi_int4"):
        register_fused_func("deepep", "kimi_int4")(lambda *_: None)


def test_normal_mode_without_deep_gemm_is_refused_before_the_first_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seams = {"deepep_mode": lambda: DeepEPMode.AUTO, "deep_gemm": False}
    monkeypatch.setattr(deepep, "require", seams.__getitem__)
    with pytest.raises(RuntimeError, match=r"deep_gemm.*--deepep-mode low_latency"):
        deepep.configure_deepep(None)


def test_the_dispatcher_is_told_to_send_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dispatcher:
        def set_quant_config(self, quant_config: dict[str, str]) -> None:
            self.dtype = DispatcherOutputDtype(quant_config["dispatcher_output_dtype"])

    seams = {
        "deepep_mode": lambda: DeepEPMode.LOW_LATENCY,
        "deep_gemm": False,
    }
    monkeypatch.setattr(deepep, "require", seams.__getitem__)
    dispatcher = Dispatcher()
    deepep.configure_deepep(dispatcher)
    assert dispatcher.dtype is DispatcherOutputDtype.BF16


@pytest.mark.parametrize(
    ("backend", "lie_apart", "message"),
    [
        ("mooncake", False, "--moe-a2a-backend mooncake: the INT4 experts take"),
        ("deepep", True, "SGLANG_KIMI_CPU_EXPERT_LAYERS: experts on the CPU take no tokens"),
    ],
)
def test_what_no_kernel_takes_is_refused_when_the_layer_is_loaded(
    backend: str, lie_apart: bool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "get_moe_a2a_backend", lambda: MoeA2ABackend(backend))
    layer = SimpleNamespace(weights=held(make_experts([0]), lie_apart))
    with pytest.raises(NotImplementedError, match=message):
        Int4ExpertsMethod(None).process_weights_after_loading(layer)


def test_lora_on_the_experts_is_refused() -> None:
    ranks = Ranks([2, 2, 2, 2], PLACES["each once"])
    output = NormalDouble(ranks.tokens, ranks.num_local).dispatch()[0]
    core = Int4RunnerCore(MoeRunnerConfig())
    with pytest.raises(NotImplementedError, match="no LoRA on the experts"):
        core.run_from_dispatch(output, Int4QuantInfo(held(ranks.experts[0])), core.config, object())
