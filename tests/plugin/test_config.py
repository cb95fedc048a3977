"""The checkpoint's config.json is read as it is, and refused where the model cannot serve it."""

import copy
import json
import pickle

import pytest
from transformers import AutoConfig

from sglang_kimi.config import KimiK2TextConfig, KimiK25Config, register


@pytest.fixture
def data(mini_checkpoint):
    return json.loads((mini_checkpoint / "config.json").read_text())


@pytest.mark.parametrize("folder", ["mini", "release"])
def test_auto_config_reads_both_nested_parts_without_remote_code(folder, request):
    path = (
        request.getfixturevalue("mini_checkpoint")
        if folder == "mini"
        else request.getfixturevalue("shared") / "kimi" / "tokenizer"
    )
    register()
    raw = json.loads((path / "config.json").read_text())
    config = AutoConfig.from_pretrained(path)
    assert type(config) is KimiK25Config and type(config.text_config) is KimiK2TextConfig
    for key in ("kv_lora_rank", "n_routed_experts", "vocab_size", "max_position_embeddings"):
        assert getattr(config.text_config, key) == raw["text_config"][key]
    assert config.vision_config.vt_hidden_size == raw["vision_config"]["vt_hidden_size"]
    assert config.media_placeholder_token_id == raw["media_placeholder_token_id"]


def test_engines_find_no_quantization_and_the_file_keeps_its_section(data, tmp_path):
    config = KimiK25Config(**data)
    assert not hasattr(config, "quantization_config")
    assert not hasattr(config.text_config, "quantization_config")
    config.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    section = data["text_config"]["quantization_config"]
    assert saved["text_config"]["quantization_config"] == section


def test_a_config_survives_the_way_into_another_process(data):
    config = KimiK25Config(**data)
    assert pickle.loads(pickle.dumps(config)).to_dict() == config.to_dict()


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("scoring_func",), "softmax", "text_config.scoring_func: this model serves 'sigmoid'"),
        (("n_group",), 8, "text_config.n_group: this model serves 1, found 8"),
        (("quantization_config", "format"), "marlin", "found format 'marlin'"),
        (
            ("quantization_config", "config_groups", "group_0", "weights", "num_bits"),
            8,
            "weights.num_bits: want 4, found 8",
        ),
        (
            ("quantization_config", "config_groups", "group_0", "weights", "group_size"),
            128,
            "weights.group_size: want 32, found 128",
        ),
    ],
)
def test_what_the_model_cannot_compute_is_refused_by_key(data, path, value, words):
    changed = copy.deepcopy(data)
    section = changed["text_config"]
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    with pytest.raises(ValueError) as error:
        KimiK25Config(**changed)
    assert words in str(error.value)
