"""A decoder layer in one call: the kernel against plain torch and the calls it stands for."""

import pytest
import torch

from sglang_kimi.kernels.decoder import layer
from sglang_kimi.kernels.decoder.layer import decoder_layer
from sglang_kimi.kernels.decoder.layer_reference import ref_decoder_layer
from sglang_kimi.kernels.decoder.weights import DecoderWeights, MoeWeights
from sglang_kimi.kernels.linear.bf16 import bf16_linear
from sglang_kimi.kernels.linear.bf16_mlp import bf16_mlp
from sglang_kimi.kernels.mla.layer import MlaStep, MlaWeights, mla_layer
from sglang_kimi.kernels.moe.int4 import Int4Experts, moe_int4, quantize_int4
from sglang_kimi.kernels.moe.sigmoid_routing import route_by_sigmoid
from sglang_kimi.kernels.norm.rms_norm import rms_norm

HIDDEN, INTER, EXPERTS, TOP_K, EXPERT_INTER = 96, 40, 6, 3, 64
HEADS, NOPE, ROPE, RANK, VALUE, Q_RANK = 2, 24, 32, 64, 16, 48
NUM_SLOTS, CONTEXT = 90, 30
ERROR = 1e-4  # relative; 16-bit activations of the experts give up to 5e-5


class Case:
    """Random weights, and a step of three sequences, with some tokens of padding."""

    def __init__(self, *, with_experts, counts=None, padding=0, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def random(*shape):
            return torch.randn(shape, generator=generator)

        def matrix(*shape):
            return (random(*shape) / shape[-1] ** 0.5).bfloat16()

        mla = MlaWeights(
            q_norm=random(Q_RANK),
            kv_norm=random(RANK),
            q_b=matrix(HEADS * (NOPE + ROPE), Q_RANK),
            w_kc=matrix(HEADS, RANK, NOPE).mT,
            w_vc=matrix(HEADS, VALUE, RANK).mT,
            o=matrix(HIDDEN, HEADS * VALUE),
            rope_dim=ROPE,
            eps=1e-5,
            scaling=0.2,
        )
        w13 = quantize_int4(random(EXPERTS, 2 * EXPERT_INTER, HIDDEN) / 10)
        w2 = quantize_int4(random(EXPERTS, HIDDEN, EXPERT_INTER) / 8)
        moe = MoeWeights(
            router=matrix(EXPERTS, HIDDEN),
            correction_bias=random(EXPERTS),
            experts=Int4Experts(*w13, *w2),
            top_k=TOP_K,
            renormalize=True,
            scaling=2.5,
        )
        self.weights = DecoderWeights(
            attention_norm=random(HIDDEN),
            mlp_norm=random(HIDDEN),
            eps=1e-5,
            qkv_a=matrix(Q_RANK + RANK + ROPE, HIDDEN),
            mla=mla,
            gate_up=matrix(2 * INTER, HIDDEN),
            down=matrix(HIDDEN, INTER),
            moe=moe if with_experts else None,
        )
        lens = [9, 30, 14]
        table = torch.randperm(NUM_SLOTS - 1, generator=generator)[: 2 * CONTEXT + 27]
        table = torch.nn.functional.pad(table, (0, 3)).view(3, CONTEXT).int()
        new = [
            (row, position)
            for row, (seq_len, count) in enumerate(zip(lens, counts or [1] * 3, strict=True))
            for position in range(seq_len - count, seq_len)
        ]
        angles = random(CONTEXT, ROPE // 2)
        self.step = MlaStep(
            positions=torch.tensor([position for _, position in new] + [0] * padding),
            cos_sin_cache=torch.cat([angles.cos(), angles.sin()], dim=-1),
            new_slots=torch.tensor([int(table[at]) for at in new] + [NUM_SLOTS - 1] * padding),
            req_to_token=table,
            req_pool_indices=torch.arange(3),
            seq_lens=torch.tensor(lens),
            query_lens=None if counts is None else torch.tensor(counts),
        )
        self.hidden, self.residual = random(2, len(new) + padding, HIDDEN)
        self.cache = random(NUM_SLOTS, RANK + ROPE)

    def by(self, run):
        """Return what a way to compute the layer makes of copies: tokens, residual, cache."""
        tensors = [tensor.clone() for tensor in (self.hidden, self.residual, self.cache)]
        hidden, residual, cache = tensors
        run(hidden, residual, self.weights, self.step, cache)
        return tensors


def one_by_one(hidden, residual, weights, step, cache):
    """Compute a layer by the calls that the model makes where ranks exchange tokens."""
    normed, total = rms_norm(hidden, weights.attention_norm, weights.eps, residual)
    attended = mla_layer(bf16_linear(normed, weights.qkv_a), weights.mla, step, cache)
    normed, total = rms_norm(attended, weights.mlp_norm, weights.eps, total)
    residual.copy_(total)
    output = bf16_mlp(normed, weights.gate_up, weights.down)
    if (moe := weights.moe) is not None:
        logits = bf16_linear(normed, moe.router)
        scores, ids = route_by_sigmoid(logits, moe.correction_bias, TOP_K, renormalize=True)
        output = moe_int4(normed, moe.experts, ids, scores * moe.scaling) + output
    hidden.copy_(output)


CASES = pytest.mark.parametrize("with_experts", [True, False], ids=["moe", "dense"])
STEPS = pytest.mark.parametrize(
    ("counts", "padding"), [(None, 0), ([2, 30, 1], 0), ([3, 1, 4], 2)], ids=str
)


@pytest.mark.usefixtures("with_kernels")
@CASES
@STEPS
def test_one_call_gives_the_bits_that_its_parts_give(with_experts, counts, padding):
    case = Case(with_experts=with_experts, counts=counts, padding=padding)
    for found, expected in zip(case.by(decoder_layer), case.by(one_by_one), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.usefixtures("with_kernels")
@CASES
@STEPS
def test_the_kernel_equals_plain_torch(with_experts, counts, padding):
    case = Case(with_experts=with_experts, counts=counts, padding=padding)
    found, expected = case.by(decoder_layer), case.by(ref_decoder_layer)
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).norm() / other.norm()) < ERROR


def test_plain_torch_does_it_where_there_is_no_kernel(monkeypatch):
    monkeypatch.setattr(layer, "native_library", lambda: None)
    case = Case(with_experts=True)
    for found, expected in zip(case.by(decoder_layer), case.by(ref_decoder_layer), strict=True):
        assert torch.equal(found, expected)


def test_weights_that_the_kernel_does_not_take_go_to_plain_torch():
    case = Case(with_experts=True)
    w = case.weights
    turned = DecoderWeights(
        *(w.attention_norm, w.mlp_norm, w.eps, w.qkv_a.T.contiguous().T, w.mla),
        *(w.gate_up, w.down, w.moe),
    )
    assert turned.native is None
    case.weights = turned
    for found, expected in zip(case.by(decoder_layer), case.by(ref_decoder_layer), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_states", torch.zeros(4, HIDDEN)),
        ("hidden_states", torch.zeros(3, HIDDEN, dtype=torch.bfloat16)),
        ("residual", torch.zeros(3, HIDDEN - 1)),
        ("residual", torch.zeros(HIDDEN, 3).T),
        ("kv_cache", torch.zeros(NUM_SLOTS, RANK)),
    ],
)
def test_an_argument_that_does_not_fit_is_named(name, value):
    case = Case(with_experts=False)
    arguments = {"hidden_states": case.hidden, "residual": case.residual, "kv_cache": case.cache}
    with pytest.raises(ValueError, match=f"^{name}: want"):
        decoder_layer(weights=case.weights, step=case.step, **(arguments | {name: value}))


@pytest.mark.usefixtures("with_kernels")
def test_a_slot_outside_the_cache_is_refused():
    case = Case(with_experts=False)
    case.step.new_slots[1] = NUM_SLOTS
    with pytest.raises(ValueError, match="new_slots"):
        case.by(decoder_layer)
