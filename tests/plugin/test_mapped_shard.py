"""Tensors of a safetensors file that stay in the file."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from sglang_kimi.checkpoint import CheckpointError
from sglang_kimi.mapped_shard import MappedTensor, mapped_text_tensors

READ_IN_ANOTHER_PROCESS = """
import os, sys
from pathlib import Path
from sglang_kimi.mapped_shard import mapped_text_tensors
path = Path(sys.argv[1])
tensor = dict(mapped_text_tensors(path))["words"]
os.truncate(path, 4096)
print("cut", flush=True)
print(int(tensor.sum()))
"""


def anonymous_bytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(1)
    return {
        "odd": torch.randn(3, generator=generator).bfloat16(),  # moves what follows off its size
        "scale": torch.randn(5, 7, generator=generator).bfloat16(),
        "words": torch.randint(-(2**31), 2**31, (9, 4), dtype=torch.int32, generator=generator),
        "bias": torch.randn(2, 3, 4, generator=generator),
    }


def test_every_tensor_has_the_bytes_and_the_shape_that_were_saved(tensors, tmp_path):
    save_file(tensors, tmp_path / "a.safetensors")
    mapped = dict(mapped_text_tensors(tmp_path / "a.safetensors"))
    assert mapped.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert isinstance(mapped[name], MappedTensor)
        assert mapped[name].dtype == tensor.dtype
        assert torch.equal(mapped[name].as_subclass(torch.Tensor), tensor)


def test_vision_tensors_are_left_aside(tensors, tmp_path):
    tensors["vision_tower.x"] = torch.zeros(2, dtype=torch.float64)
    save_file(tensors, tmp_path / "a.safetensors")
    assert "vision_tower.x" not in dict(mapped_text_tensors(tmp_path / "a.safetensors"))


def test_a_type_that_no_text_tensor_has_is_named(tmp_path):
    save_file({"wide": torch.zeros(2, dtype=torch.float64)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"wide in a\.safetensors: want one of .*, found F64"):
        dict(mapped_text_tensors(tmp_path / "a.safetensors"))


def test_a_shard_whose_size_does_not_fit_its_header_is_refused(tensors, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(tensors, path)
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        dict(mapped_text_tensors(path))


def test_reading_them_takes_no_memory_of_the_process(tmp_path):
    num_bytes = 64 << 20
    save_file({"w": torch.ones(num_bytes // 4, dtype=torch.int32)}, tmp_path / "a.safetensors")
    before = anonymous_bytes()
    tensor = dict(mapped_text_tensors(tmp_path / "a.safetensors"))["w"]
    assert int(tensor.as_subclass(torch.Tensor).sum()) == num_bytes // 4
    assert anonymous_bytes() - before < num_bytes // 4


def test_what_is_made_of_a_mapped_tensor_is_a_plain_one(tensors, tmp_path):
    save_file(tensors, tmp_path / "a.safetensors")
    words = dict(mapped_text_tensors(tmp_path / "a.safetensors"))["words"]
    assert type(words[1:]) is type(words.clone()) is torch.Tensor


@pytest.mark.parametrize("how", ["replaced", "deleted"])
def test_a_file_that_is_replaced_or_deleted_goes_on_serving_its_old_bytes(how, tensors, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(tensors, path)
    words = dict(mapped_text_tensors(path))["words"]
    path.unlink()
    if how == "replaced":
        save_file({"words": torch.zeros(9, 4, dtype=torch.int32)}, path)
    assert torch.equal(words.as_subclass(torch.Tensor), tensors["words"])


def test_a_file_that_is_cut_ends_the_process_that_reads_past_its_end(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"words": torch.ones(1 << 20, dtype=torch.int32)}, path)
    done = subprocess.run(
        [sys.executable, "-P", "-c", READ_IN_ANOTHER_PROCESS, path], capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("cut\n", -signal.SIGBUS)


def test_a_mini_checkpoint_maps_as_its_headers_say(mini_checkpoint):
    index = json.loads((mini_checkpoint / "model.safetensors.index.json").read_text())
    expected = {name for name in index["weight_map"] if name.startswith("language_model.")}
    found = [
        name
        for shard in sorted(mini_checkpoint.glob("*.safetensors"))
        for name, _ in mapped_text_tensors(shard)
    ]
    assert len(found) == len(set(found))
    assert set(found) == expected
