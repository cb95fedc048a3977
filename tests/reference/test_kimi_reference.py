"""The reference agrees with the specification's figures and with itself."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from .kimi_reference import (
    KimiReference,
    expand,
    rope_angles,
    rope_frequencies,
    rotate,
    softmax_scale,
    yarn_mscale,
    yarn_ramp_bounds,
)

TOKEN_IDS = [3843, 533, 3857, 100, 2000, 31, 3842, 3844, 649, 3857, 3862, 77, 77, 1234]


@pytest.fixture(scope="module")
def real_config(shared: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((shared / "kimi/tokenizer/config.json").read_text())
    text_config: dict[str, Any] = config["text_config"]
    return text_config


def test_the_reference_imports_nothing_of_ours_and_nothing_of_transformers() -> None:
    source = (Path(__file__).parent / "kimi_reference.py").read_text()
    modules = {
        line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))
    }
    assert {"torch", "safetensors"} < modules
    assert not [name for name in modules if name.startswith((".", "sglang", "transformers"))]


def test_yarn_figures_of_the_real_model_are_the_published_ones(real_config: dict[str, Any]) -> None:
    assert yarn_mscale(64, 1) == pytest.approx(1.4158883, abs=5e-8)
    assert softmax_scale(real_config) == pytest.approx(0.14467963, abs=5e-9)
    assert yarn_ramp_bounds(real_config) == (8, 20)


def test_yarn_keeps_fast_pairs_and_stretches_slow_ones_64_times(
    real_config: dict[str, Any],
) -> None:
    frequencies = rope_frequencies(real_config)
    plain = 50000.0 ** (-torch.arange(0, 64, 2, dtype=torch.float64) / 64)
    assert torch.equal(frequencies[:9], plain[:9])
    torch.testing.assert_close(frequencies[20:], plain[20:] / 64)
    middle = plain[14] * 0.5 + plain[14] / 64 * 0.5
    assert float(frequencies[14]) == pytest.approx(float(middle))


def test_rotating_turns_neighbours_by_position_times_frequency(real_config: dict[str, Any]) -> None:
    angles = rope_angles(real_config, 6)
    x = torch.zeros(6, 64)
    x[:, 0] = 1.0  # pair 0 turns by one radian a position
    turned = rotate(x, angles)
    assert turned[5, 0] == pytest.approx(math.cos(5.0))
    assert turned[5, 1] == pytest.approx(math.sin(5.0))
    assert torch.equal(turned[:, 2:], torch.zeros(6, 62))


def test_int4_words_are_expanded_lowest_nibble_first_minus_8() -> None:
    codes = [15, 0, 8, 7, 9, 1, 14, 2] * 4
    words = [
        sum(code << (4 * i) for i, code in enumerate(codes[j : j + 8])) for j in range(0, 32, 8)
    ]
    signed = [word - (1 << 32) if word >= 1 << 31 else word for word in words]
    weight = expand(torch.tensor([signed]).int(), torch.tensor([[0.5]]), torch.tensor([1, 32]))
    assert weight.tolist() == [[(code - 8) * 0.5 for code in codes]]


def test_logits_of_a_prefix_do_not_depend_on_what_follows(reference: KimiReference) -> None:
    whole = reference.logits(TOKEN_IDS)
    for length in (1, 6, 13):
        prefix = reference.logits(TOKEN_IDS[:length])
        torch.testing.assert_close(prefix, whole[:length], atol=2e-4, rtol=1e-4)


def test_logits_depend_on_every_earlier_token_and_on_order(reference: KimiReference) -> None:
    last = reference.logits(TOKEN_IDS)[-1]
    for position in range(len(TOKEN_IDS) - 1):
        changed = [*TOKEN_IDS]
        changed[position] += 1
        assert float((reference.logits(changed)[-1] - last).abs().max()) > 1e-2
    swapped = [*TOKEN_IDS[:3], TOKEN_IDS[4], TOKEN_IDS[3], *TOKEN_IDS[5:]]
    assert float((reference.logits(swapped)[-1] - last).abs().max()) > 1e-2


def test_random_weights_give_finite_spread_logits_that_do_not_repeat_one_token(
    reference: KimiReference,
) -> None:
    token_ids = TOKEN_IDS[:11]
    for _ in range(8):
        token_ids = [*token_ids, int(reference.logits(token_ids)[-1].argmax())]
    logits = reference.logits(token_ids)
    assert bool(logits.isfinite().all())
    assert 1.0 < float(logits.std()) < 6.0
    assert len(set(token_ids[11:])) >= 4
