"""The configs of a mini checkpoint have the release's keys, and at true size its values."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sglang_kimi.checkpoint import checkpoint_tensors, layer_tensors
from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.mini.config import FULL, LAYER, MINI, checkpoint_config
from sglang_kimi.launch.mini.writer import write_mini_checkpoint


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini") / "checkpoint"
    write_mini_checkpoint(folder)
    return folder


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def all_keys(value: Any, path: str = "") -> set[str]:
    if not isinstance(value, dict):
        return {path}
    return {path} | {
        key for name, item in value.items() for key in all_keys(item, f"{path}/{name}")
    }


def test_config_has_the_releases_keys_but_no_remote_code(mini: Path, shared: Path) -> None:
    real = read_json(shared / "kimi/tokenizer/config.json")
    del real["auto_map"], real["text_config"]["auto_map"]
    assert all_keys(read_json(mini / "config.json")) == all_keys(real)


def test_config_of_true_size_has_the_releases_values(shared: Path) -> None:
    real = read_json(shared / "kimi/tokenizer/config.json")
    del real["auto_map"], real["text_config"]["auto_map"]
    # K2.7-Code ignores the vision modules by name too, K2.6, whose file this is, did not.
    real["text_config"]["quantization_config"]["ignore"] += [
        "re:.*vision_tower.*",
        "re:.*mm_projector.*",
    ]
    ours = checkpoint_config(replace(FULL, num_hidden_layers=61, first_k_dense_replace=1))
    assert ours == real


def test_tokenizer_config_is_the_releases_with_ids_after_our_ranks(
    mini: Path, shared: Path
) -> None:
    real = read_json(shared / "kimi/tokenizer/tokenizer_config.json")
    del real["auto_map"]
    shift = FULL.num_ranks - MINI.num_ranks
    real["added_tokens_decoder"] = {
        str(int(token_id) - shift): entry
        for token_id, entry in real["added_tokens_decoder"].items()
    }
    assert read_json(mini / "tokenizer_config.json") == real


def test_ids_in_the_configs_are_those_of_the_vocabulary(mini: Path) -> None:
    vocabulary = Vocabulary.load(mini)
    config = read_json(mini / "config.json")
    assert vocabulary.size == config["text_config"]["vocab_size"] == 4096
    for section in (config, config["text_config"]):
        assert section["eos_token_id"] == vocabulary.control_id("<|im_end|>")
        assert section["bos_token_id"] == vocabulary.bos_id
        assert section["pad_token_id"] == vocabulary.pad_id
    assert config["media_placeholder_token_id"] == vocabulary.control_id("<|media_pad|>")
    assert read_json(mini / "generation_config.json") == {
        "max_length": 262144,
        "eos_token_id": vocabulary.control_id("<|im_end|>"),
    }


def test_the_served_layers_of_the_true_size_are_the_releases() -> None:
    full = checkpoint_config(replace(FULL, num_hidden_layers=2, first_k_dense_replace=1))
    layer = checkpoint_config(LAYER)
    for layer_id in range(2):
        expected = layer_tensors(full["text_config"], layer_id)
        assert layer_tensors(layer["text_config"], layer_id) == expected
    num_bytes = sum(spec.num_bytes for spec in checkpoint_tensors(layer).values())
    assert 10.5e9 < num_bytes < 11.5e9
