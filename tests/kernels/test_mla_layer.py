"""One layer's absorbed MLA: the kernel and plain torch against float64, token by token."""

import math

import pytest
import torch

from sglang_kimi.kernels.mla import layer
from sglang_kimi.kernels.mla.layer import MlaStep, MlaWeights, mla_layer

HEADS, NOPE, ROPE, RANK, VALUE, Q_RANK, HIDDEN = 3, 24, 32, 64, 20, 40, 72
EPS, SCALING = 1e-5, 0.2
NUM_SLOTS, CONTEXT = 200, 50
FLOAT32 = 1e-6  # relative; the largest seen was 2e-7


@pytest.fixture(params=["kernel", "torch"])
def way(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(layer, "native_library", lambda: None)
    else:
        request.getfixturevalue("with_kernels")


class Step:
    """Random weights and a step of sequences; `padding` tokens follow them."""

    def __init__(self, lens, counts=None, padding=0, cache_dtype=torch.float32):
        generator = torch.Generator().manual_seed(sum(lens))

        def random(*shape):
            return torch.randn(shape, generator=generator)

        self.weights = MlaWeights(
            q_norm=random(Q_RANK),
            kv_norm=random(RANK),
            q_b=(random(HEADS * (NOPE + ROPE), Q_RANK) / 6).bfloat16(),
            w_kc=(random(HEADS, RANK, NOPE) / 5).bfloat16().mT,
            w_vc=(random(HEADS, VALUE, RANK) / 8).bfloat16().mT,
            o=random(HIDDEN, HEADS * VALUE).bfloat16(),
            rope_dim=ROPE,
            eps=EPS,
            scaling=SCALING,
        )
        self.table = torch.randperm(NUM_SLOTS - 9, generator=generator)[: 3 * CONTEXT].view(3, -1)
        self.rows = [2, 0, 1][: len(lens)]
        self.lens, self.counts = lens, counts or [1] * len(lens)
        places = [
            (row, position)
            for row, seq_len, count in zip(self.rows, lens, self.counts, strict=True)
            for position in range(seq_len - count, seq_len)
        ]
        self.num_tokens, total = len(places), len(places) + padding
        self.slots = torch.tensor(
            [int(self.table[place]) for place in places] + [NUM_SLOTS - 1] * padding
        )
        self.positions = torch.tensor([position for _, position in places] + [0] * padding)
        self.latents = random(total, Q_RANK + RANK + ROPE)
        angles = random(CONTEXT, ROPE // 2)
        self.cos_sin = torch.cat([angles.cos(), angles.sin()], dim=-1)
        self.cache = random(NUM_SLOTS, RANK + ROPE).to(cache_dtype)
        self.query_lens = None if counts is None else torch.tensor(counts)

    def run(self, **changes):
        step = {
            "positions": self.positions,
            "cos_sin_cache": self.cos_sin,
            "new_slots": self.slots,
            "req_to_token": self.table.int(),
            "req_pool_indices": torch.tensor(self.rows),
            "seq_lens": torch.tensor(self.lens),
            "query_lens": self.query_lens,
        }
        others = {"latents": self.latents, "kv_cache": self.cache}
        step |= {name: value for name, value in changes.items() if name in step}
        others |= {name: value for name, value in changes.items() if name in others}
        return mla_layer(weights=self.weights, step=MlaStep(**step), **others)

    def exact(self):
        """Return the tokens' outputs in float64; the cache must hold them already."""
        w = self.weights
        outputs, token = [], 0
        for row, seq_len, count in zip(self.rows, self.lens, self.counts, strict=True):
            for position in range(seq_len - count, seq_len):
                keys = self.cache[self.table[row, : position + 1]].double()
                q_lora = norm(self.latents[token, :Q_RANK].double(), w.q_norm)
                query = (w.q_b.double() @ q_lora).view(HEADS, -1)
                values = []
                for head in range(HEADS):
                    turned = turn(query[head, NOPE:], self.cos_sin[position])
                    absorbed = torch.cat([w.w_kc[head].double().T @ query[head, :NOPE], turned])
                    weights = torch.softmax(SCALING * (keys @ absorbed), dim=0)
                    values.append(w.w_vc[head].double().T @ (weights @ keys[:, :RANK]))
                outputs.append(w.o.double() @ torch.cat(values))
                token += 1
        return torch.stack(outputs)


def norm(x, weight):
    return x / (x.pow(2).mean() + EPS).sqrt() * weight.double()


def turn(x, cos_sin):
    cos, sin = cos_sin.double().chunk(2)
    a, b = x.view(-1, 2).T
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten()


def relative(found, expected):
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("cache_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("lens", "counts"), [([1], None), ([5, 50, 9], None), ([40], [40]), ([7, 30], [2, 30])]
)
def test_output_equals_float64_for_decode_prefill_and_cached_prefix(lens, counts, cache_dtype):
    step = Step(lens, counts, cache_dtype=cache_dtype)
    output = step.run()
    assert output.shape == (step.num_tokens, HIDDEN)
    assert relative(output, step.exact()) < FLOAT32


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("cache_dtype", [torch.float32, torch.bfloat16])
def test_the_cache_gets_the_normed_and_rotated_latents_and_keeps_the_rest(cache_dtype):
    step = Step([5, 9], [2, 3], cache_dtype=cache_dtype)
    before = step.cache.clone()
    step.run()
    for token, (slot, position) in enumerate(zip(step.slots, step.positions, strict=True)):
        latent = step.latents[token, Q_RANK:].double()
        turned = turn(latent[RANK:], step.cos_sin[position])
        expected = torch.cat([norm(latent[:RANK], step.weights.kv_norm), turned])
        bound = FLOAT32 if cache_dtype == torch.float32 else 2**-8
        assert relative(step.cache[slot], expected) < bound
    others = torch.ones(NUM_SLOTS, dtype=torch.bool)
    others[step.slots] = False
    assert torch.equal(step.cache[others], before[others])


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("counts", [None, [3, 2]])
def test_padding_tokens_change_nothing_and_give_zeros(counts):
    step = Step([5, 9], counts, padding=2)
    output = step.run()
    assert relative(output[: step.num_tokens], step.exact()) < FLOAT32
    assert torch.equal(output[step.num_tokens :], torch.zeros(2, HIDDEN))


@pytest.mark.usefixtures("with_kernels")
def test_the_kernel_rounds_to_bfloat16_as_torch_does(monkeypatch):
    by_kernel = Step([40], [40], cache_dtype=torch.bfloat16)
    by_kernel.latents[0, Q_RANK] = math.nan
    by_torch = Step([40], [40], cache_dtype=torch.bfloat16)
    by_torch.latents[0, Q_RANK] = math.nan
    by_kernel.run()
    monkeypatch.setattr(layer, "native_library", lambda: None)
    by_torch.run()
    differ = (by_kernel.cache != by_torch.cache) & ~by_torch.cache.isnan()
    # A float32 that is between two bf16 numbers may be summed to either side of the middle.
    assert float(differ.float().mean()) < 1e-3
    assert torch.equal(by_kernel.cache.isnan(), by_torch.cache.isnan())


@pytest.mark.usefixtures("way")
def test_bfloat16_latents_give_bfloat16():
    step = Step([5, 9])
    step.latents = step.latents.bfloat16()
    output = step.run(latents=step.latents)
    assert output.dtype == torch.bfloat16
    assert relative(output, step.exact()) < 2e-2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latents", torch.zeros(2, Q_RANK + RANK)),
        ("positions", torch.zeros(3, dtype=torch.int64)),
        ("new_slots", torch.zeros(1, dtype=torch.int64)),
        ("kv_cache", torch.zeros(NUM_SLOTS, RANK)),
        ("seq_lens", torch.tensor([5, CONTEXT + 1])),
    ],
)
def test_an_argument_that_does_not_fit_is_named(name, value):
    with pytest.raises(ValueError, match=f"^[a-z_, ]*{name}[a-z_, ]*: want"):
        Step([5, 9]).run(**{name: value})


@pytest.mark.usefixtures("with_kernels")
@pytest.mark.parametrize(("name", "value"), [("new_slots", NUM_SLOTS), ("positions", CONTEXT)])
def test_the_kernel_refuses_rows_that_are_not_there(name, value):
    with pytest.raises(ValueError, match=name):
        Step([5, 9]).run(**{name: torch.tensor([0, value])})
