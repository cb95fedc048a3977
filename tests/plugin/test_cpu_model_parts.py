"""Our CPU forms of SGLang's layers compute what SGLang's own do."""

import json
import time
from types import SimpleNamespace

import pytest
import torch
from sglang.srt.layers.layernorm import RMSNorm
from sglang.srt.layers.linear import ReplicatedLinear
from sglang.srt.layers.moe.topk import biased_grouped_topk_impl
from sglang.srt.layers.rotary_embedding.rope_variant import DeepseekScalingRotaryEmbedding
from torch import nn

from sglang_kimi.cpu.dense import keep_dense_weights_in_bf16
from sglang_kimi.cpu.norm import CpuRMSNorm
from sglang_kimi.cpu.routing import sigmoid_routing
from sglang_kimi.kernels.mla.rotary import rotate, rotations_at
from sglang_kimi.step_times import StepTimes

ROUNDING = 1e-5  # float32 sums in another order


def test_a_linear_layer_keeps_bf16_and_its_loader_and_gives_float32():
    layer = ReplicatedLinear(48, 20, bias=False, params_dtype=torch.float32)
    keep_dense_weights_in_bf16(nn.Sequential(layer))
    stored = torch.randn(20, 48).bfloat16()
    layer.weight.weight_loader(layer.weight, stored)
    x = torch.randn(3, 48)
    output, _ = layer(x)
    assert layer.weight.dtype == torch.bfloat16
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, x @ stored.float().T, rtol=ROUNDING, atol=ROUNDING)


def test_rotation_equals_sglangs():
    rotary = DeepseekScalingRotaryEmbedding(
        *(64, 64, 4096, 50000.0, False, 64.0, torch.float32),
        **{"mscale": 1.0, "mscale_all_dim": 1.0, "device": "cpu"},
    )
    positions = torch.tensor([0, 5, 70000])
    q, k = torch.randn(3, 4, 64), torch.randn(3, 1, 64)
    rotations = rotations_at(positions, rotary.cos_sin_cache)
    for found, expected in zip(
        (rotate(q, rotations), rotate(k, rotations)),
        rotary.forward_native(positions, q.clone(), k.clone()),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=ROUNDING, atol=ROUNDING)


def test_routing_equals_sglangs_with_one_group():
    logits, bias, x = torch.randn(50, 16), 0.1 * torch.randn(16), torch.randn(50, 8)
    weights, ids = sigmoid_routing(bias)(x, logits, 4, True)
    expected, expected_ids = biased_grouped_topk_impl(x, logits, bias, 4, True, 1, 1)[:2]
    order, expected_order = ids.sort(dim=-1).indices, expected_ids.sort(dim=-1).indices
    assert torch.equal(ids.gather(1, order), expected_ids.gather(1, expected_order))
    torch.testing.assert_close(
        weights.gather(1, order), expected.gather(1, expected_order), rtol=ROUNDING, atol=ROUNDING
    )


def test_norm_equals_sglangs_with_and_without_a_residual():
    ours, theirs = CpuRMSNorm(96, eps=1e-5), RMSNorm(96, eps=1e-5)
    theirs.weight.data.normal_()
    ours.weight.data.copy_(theirs.weight)
    x, residual = torch.randn(2, 5, 96)
    torch.testing.assert_close(ours.forward_native(x), theirs.forward_native(x))
    torch.testing.assert_close(
        ours.forward_native(x, residual), theirs.forward_native(x, residual.clone())
    )


def test_a_steps_line_holds_the_parts_of_its_round(tmp_path):
    times = StepTimes(tmp_path / "steps.jsonl")
    mode = SimpleNamespace(is_decode=lambda: True)
    batch = SimpleNamespace(forward_mode=mode, batch_size=lambda: 3)

    def run_batch(_scheduler, _batch):
        return times.timed("forward")(lambda: time.sleep(0.002) or "result")

    times.receive(lambda: None)  # a round without a batch has no line
    times.receive(lambda: None)
    assert times.launch(run_batch, None, batch) == "result"
    for _ in range(2):  # the overlap schedule may hand on two results in a round
        times.timed("results")(lambda: time.sleep(0.002))
    time.sleep(0.002)
    times.receive(lambda: None)
    line = json.loads((tmp_path / "steps.jsonl").read_text())
    assert (line.pop("mode"), line.pop("batch")) == ("decode", 3)
    assert set(line) == {"step", "receive", "launch", "forward", "results", "other"}
    assert line["step"] == pytest.approx(sum(line.values()) / 2)
    assert line["forward"] >= 0.002
    assert line["results"] >= 0.004
    assert line["other"] >= 0.002
    assert 0 <= line["launch"] < line["forward"]
