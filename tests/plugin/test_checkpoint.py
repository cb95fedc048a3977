"""The tensor table reproduces the published checkpoint to the byte and refuses other configs."""

import json
from pathlib import Path
from typing import Any

import pytest

from sglang_kimi.checkpoint import (
    TensorSpec,
    checkpoint_tensors,
    is_moe_layer,
    is_vision_tensor,
    layer_tensors,
    num_parameters,
    text_tensors,
)

# FORMAT section 1.3: published figures of Kimi-K2.5, K2.6 and K2.7-Code.
NUM_TENSORS = 208_550
NUM_PARAMETERS = 1_026_879_376_368
NUM_BYTES = 595_148_192_736
# FORMAT section 1.5.
BYTES_OF_ONE_LAYERS_EXPERTS = 9_512_681_472
BYTES_OF_ONE_LAYERS_ATTENTION = 202_248_192


@pytest.fixture(scope="module")
def config(shared: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((shared / "kimi/tokenizer/config.json").read_text())
    return loaded


def test_real_config_gives_the_published_counts(config: dict[str, Any]) -> None:
    tensors = checkpoint_tensors(config)
    assert len(tensors) == NUM_TENSORS
    assert num_parameters(tensors) == NUM_PARAMETERS
    assert sum(spec.num_bytes for spec in tensors.values()) == NUM_BYTES


def test_vision_tensors_are_told_by_name(config: dict[str, Any]) -> None:
    vision = [name for name in checkpoint_tensors(config) if is_vision_tensor(name)]
    assert len(vision) == 329 + 6
    assert not set(vision) & set(text_tensors(config["text_config"]))


def test_one_layer_has_the_published_sizes(config: dict[str, Any]) -> None:
    layer = layer_tensors(config["text_config"], 1)
    routed = [spec.num_bytes for name, spec in layer.items() if ".experts." in name]
    shapes = [spec.num_bytes for name, spec in layer.items() if name.endswith("weight_shape")]
    assert sum(routed) - sum(shapes) == BYTES_OF_ONE_LAYERS_EXPERTS
    attention = [spec.num_bytes for name, spec in layer.items() if "self_attn." in name]
    assert sum(attention) == BYTES_OF_ONE_LAYERS_ATTENTION


def test_expert_tensors_have_the_checkpoints_names_and_shapes(config: dict[str, Any]) -> None:
    tensors = text_tensors(config["text_config"])
    expert = "language_model.model.layers.60.mlp.experts.383."
    assert tensors[expert + "up_proj.weight_packed"] == TensorSpec((2048, 896), "I32")
    assert tensors[expert + "down_proj.weight_scale"] == TensorSpec((7168, 64), "BF16")
    assert tensors[expert + "down_proj.weight_shape"] == TensorSpec((2,), "I32")
    bias = "language_model.model.layers.1.mlp.gate.e_score_correction_bias"
    assert tensors[bias] == TensorSpec((384,), "F32")


def test_only_the_first_layer_is_dense(config: dict[str, Any]) -> None:
    dense = [i for i in range(61) if not is_moe_layer(config["text_config"], i)]
    assert dense == [0]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("hidden_size", None, "hidden_size must be an integer >= 1, got None"),
        ("hidden_size", 7160, "hidden_size must be a multiple of 32"),
        ("n_routed_experts", 0, "n_routed_experts must be an integer >= 1, got 0"),
        ("num_nextn_predict_layers", 1, "num_nextn_predict_layers=1 is not a Kimi"),
    ],
)
def test_an_unusable_config_is_refused_by_key_and_value(
    config: dict[str, Any], key: str, value: object, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        text_tensors({**config["text_config"], key: value})


def test_a_missing_section_is_named() -> None:
    with pytest.raises(ValueError, match="text_config must be an object, got NoneType"):
        checkpoint_tensors({})
