"""A Kimi checkpoint as GGUF keeps every number."""

import json
import struct

import numpy as np
import pytest
import torch
from safetensors import safe_open

from sglang_kimi.kernels.moe.int4 import dequantize_int4
from sglang_kimi.launch.bench.gguf_file import GgufTensor, write_gguf
from sglang_kimi.launch.bench.gguf_kimi import ConversionError, _q4_0, convert_to_gguf

EXPERT = "language_model.model.layers.1.mlp.experts.3.up_proj"
FLOAT32, Q4_0, BF16 = 0, 2, 30


class GgufReader:
    """Reads back what the format's description says; independent of the writer."""

    def __init__(self, path):
        self.data, self.at = path.read_bytes(), 0
        assert self.data[:4] == b"GGUF"
        self.at = 4
        version, num_tensors, num_pairs = self.take("<IQQ")
        assert version == 3
        self.pairs = {self.text(): self.value() for _ in range(num_pairs)}
        infos = [self.info() for _ in range(num_tensors)]
        start = -(-self.at // 32) * 32
        self.tensors = {name: (shape, kind, start + at) for name, shape, kind, at in infos}

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values

    def text(self):
        (length,) = self.take("<Q")
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def value(self):
        (kind,) = self.take("<I")
        return self.text() if kind == 8 else self.take({4: "<I", 6: "<f", 7: "<?"}[kind])[0]

    def info(self):
        name = self.text()
        (num_dims,) = self.take("<I")
        shape = self.take(f"<{num_dims}Q")[::-1]
        kind, offset = self.take("<IQ")
        assert offset % 32 == 0
        return name, shape, kind, offset


@pytest.fixture(scope="module")
def stored(mini_checkpoint):
    index = json.loads((mini_checkpoint / "model.safetensors.index.json").read_text())
    shards = index["weight_map"]

    def read(name):
        with safe_open(str(mini_checkpoint / shards[name]), framework="pt") as shard:
            return shard.get_tensor(name)

    return read


def test_scalars_and_tensors_stand_where_the_format_says(tmp_path):
    numbers = np.arange(6, dtype="<f4")
    pairs = {"a.text": "möglich", "a.number": 7, "a.float": 0.5, "a.flag": True}
    tensors = {name: GgufTensor((2, 3), "F32", numbers.tobytes()) for name in ("x", "y")}
    write_gguf(tmp_path / "file", pairs, tensors)
    read = GgufReader(tmp_path / "file")
    assert read.pairs == pairs
    shape, kind, at = read.tensors["y"]
    assert (shape, kind) == ((2, 3), FLOAT32)
    assert np.array_equal(np.frombuffer(read.data, "<f4", 6, at), numbers)


def test_experts_keep_their_codes_and_scales(mini_checkpoint, stored, tmp_path):
    convert_to_gguf(mini_checkpoint, tmp_path / "file")
    read = GgufReader(tmp_path / "file")
    (num_experts, rows, inputs), kind, at = read.tensors["blk.1.ffn_up_exps.weight"]
    assert (num_experts, kind) == (16, Q4_0)
    num_blocks = rows * inputs // 32
    data = np.frombuffer(read.data, np.uint8, num_blocks * 18, at + 3 * num_blocks * 18)
    blocks = data.reshape(num_blocks, 18)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    codes = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32)
    found = torch.from_numpy(scale * (codes - 8)).view(rows, inputs)
    packed, scales = stored(f"{EXPERT}.weight_packed"), stored(f"{EXPERT}.weight_scale")
    assert torch.equal(found, dequantize_int4(packed, scales))


def test_the_exact_form_is_float32_of_the_same_numbers(mini_checkpoint, stored, tmp_path):
    convert_to_gguf(mini_checkpoint, tmp_path / "file", is_exact=True)
    read = GgufReader(tmp_path / "file")
    assert {kind for _, kind, _ in read.tensors.values()} == {FLOAT32}
    (_, rows, inputs), _, at = read.tensors["blk.1.ffn_up_exps.weight"]
    size = rows * inputs
    found = np.frombuffer(read.data, "<f4", size, at + 4 * 3 * size).reshape(rows, inputs)
    packed, scales = stored(f"{EXPERT}.weight_packed"), stored(f"{EXPERT}.weight_scale")
    assert np.array_equal(found, dequantize_int4(packed, scales).numpy())


def test_the_config_comes_along(mini_checkpoint, tmp_path):
    convert_to_gguf(mini_checkpoint, tmp_path / "file")
    pairs = GgufReader(tmp_path / "file").pairs
    assert pairs["general.architecture"] == "deepseek2"
    assert pairs["deepseek2.rope.scaling.factor"] == 64.0
    assert pairs["deepseek2.attention.key_length_mla"] == 128
    assert pairs["deepseek2.expert_weights_scale"] == pytest.approx(2.827)


def test_a_scale_that_float16_has_not_is_refused_by_name():
    tensors = {
        "e.weight_packed": torch.zeros(1, 4, dtype=torch.int32),
        "e.weight_scale": torch.full((1, 1), 1e30, dtype=torch.bfloat16),
    }
    with pytest.raises(ConversionError, match=r"e\.weight_scale: holds a number"):
        _q4_0(tensors.__getitem__, "e")
