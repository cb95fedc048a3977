"""Loading stops at the first tensor that is not what the config calls for, and says which."""

import json
from types import SimpleNamespace

import pytest
import torch

from sglang_kimi.checkpoint import CheckpointError, text_tensors
from sglang_kimi.weights import STORED, load_weights

NORM = "language_model.model.norm.weight"
EXPERT = "language_model.model.layers.1.mlp.experts.0.gate_proj.weight_packed"


@pytest.fixture
def text_config(mini_checkpoint):
    return json.loads((mini_checkpoint / "config.json").read_text())["text_config"]


@pytest.fixture
def model(text_config):
    """A model of another pipeline stage: it holds no layer, so only the checks run."""
    config = SimpleNamespace(text_config=SimpleNamespace(to_dict=lambda: text_config))
    return SimpleNamespace(config=config, start_layer=0, end_layer=0, named_modules=dict)


@pytest.fixture
def tensors(text_config):
    return {
        name: torch.empty(spec.shape, dtype=STORED[spec.dtype], device="meta")
        for name, spec in text_tensors(text_config).items()
    }


def test_a_whole_checkpoint_loads_and_vision_tensors_are_left_aside(model, tensors):
    tensors["vision_tower.patch_embed.proj.weight"] = torch.empty(3, device="meta")
    load_weights(model, tensors.items(), must_be_complete=True)


def test_a_missing_tensor_is_named_with_its_shape(model, tensors):
    spec = [*tensors.pop(EXPERT).shape]
    with pytest.raises(CheckpointError) as error:
        load_weights(model, tensors.items(), must_be_complete=True)
    assert EXPERT in str(error.value) and str(spec) in str(error.value)


def test_an_update_of_some_weights_may_be_incomplete(model, tensors):
    load_weights(model, [(NORM, tensors[NORM])], must_be_complete=False)


def test_an_unknown_tensor_is_named(model, tensors):
    tensors["language_model.model.layers.99.extra"] = tensors[NORM]
    with pytest.raises(CheckpointError, match=r"layers\.99\.extra is unknown"):
        load_weights(model, tensors.items(), must_be_complete=True)


@pytest.mark.parametrize(
    "wrong",
    [torch.empty(3, 5, dtype=torch.int32, device="meta"), torch.empty(2, device="meta")],
    ids=["shape", "type"],
)
def test_a_wrong_shape_or_type_is_named_with_both(model, tensors, wrong):
    expected = [*tensors[EXPERT].shape]
    with pytest.raises(CheckpointError) as error:
        load_weights(model, (tensors | {EXPERT: wrong}).items(), must_be_complete=True)
    assert f"expected {expected}" in str(error.value)
    assert f"found {[*wrong.shape]}" in str(error.value)
