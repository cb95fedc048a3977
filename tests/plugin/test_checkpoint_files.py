"""A damaged checkpoint folder is refused from its headers, with the file or tensor by name."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sglang_kimi.checkpoint import CheckpointError
from sglang_kimi.checkpoint_files import INDEX_NAME, check_checkpoint, is_kimi_checkpoint
from sglang_kimi.launch.mini.writer import write_mini_checkpoint

HEAD = "language_model.lm_head.weight"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "mini"
    write_mini_checkpoint(folder, num_layers=1)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "mini"))


def shard_of_head(folder: Path) -> Path:
    name: str = json.loads((folder / INDEX_NAME).read_text())["weight_map"][HEAD]
    return folder / name


def edit_header(shard: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = shard.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    shard.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        check_checkpoint(folder)
    return str(caught.value)


def test_a_whole_checkpoint_passes_with_or_without_its_index(folder: Path) -> None:
    check_checkpoint(folder)
    (folder / INDEX_NAME).unlink()
    check_checkpoint(folder)


@pytest.mark.parametrize(
    "index", ["{", "[1]", '{"metadata": {}}', '{"weight_map": [1]}', '{"weight_map": {"a": 5}}']
)
def test_a_damaged_index_is_named(folder: Path, index: str) -> None:
    (folder / INDEX_NAME).write_text(index)
    assert refusal(folder).startswith(f"{INDEX_NAME} has no readable weight_map")


def test_a_shard_that_is_absent_is_named(folder: Path) -> None:
    shard = shard_of_head(folder)
    shard.unlink()
    assert refusal(folder) == f"shard {shard.name} does not exist; copy the checkpoint again"


@pytest.mark.parametrize("content", [b"", b"abc", b"version https://git-lfs.github.com/spec/v1\n"])
def test_a_shard_without_a_whole_header_is_named_with_its_size(
    folder: Path, content: bytes
) -> None:
    shard = shard_of_head(folder)
    shard.write_bytes(content)
    assert refusal(folder) == (
        f"shard {shard.name} is cut within its header ({len(content)} bytes)"
    )


@pytest.mark.parametrize(
    "entry",
    [
        5,
        {"dtype": "BF16", "shape": [1]},
        {"dtype": "BF16", "data_offsets": [0, 2]},
        {"shape": [1], "data_offsets": [0, 2]},
        {"dtype": 5, "shape": [1], "data_offsets": [0, 2]},
        {"dtype": "BF16", "shape": 1, "data_offsets": [0, 2]},
        {"dtype": "BF16", "shape": [1], "data_offsets": ["0", "2"]},
        {"dtype": "BF16", "shape": [1], "data_offsets": [2, 0]},
        {"dtype": "BF16", "shape": [1], "data_offsets": [0]},
    ],
)
def test_a_header_of_another_form_is_damage(folder: Path, entry: object) -> None:
    shard = shard_of_head(folder)
    edit_header(shard, lambda header: header.update({HEAD: entry}))
    assert refusal(folder) == f"shard {shard.name} has no readable header; copy it again"


def test_bytes_that_do_not_fit_the_shape_are_named_with_both_sizes(folder: Path) -> None:
    shard = shard_of_head(folder)
    ends = []

    def shorten(header: dict[str, Any]) -> None:
        begin, end = header[HEAD]["data_offsets"]
        header[HEAD]["data_offsets"] = [begin + 2, end]
        ends.append(end - begin)

    edit_header(shard, shorten)
    assert refusal(folder) == (
        f"tensor {HEAD} in {shard.name}: expected {ends[0]} bytes, found {ends[0] - 2}"
    )


def test_a_tensor_in_two_shards_is_named_with_both(folder: Path) -> None:
    shard = shard_of_head(folder)
    shutil.copy(shard, folder / "zz.safetensors")
    (folder / INDEX_NAME).unlink()
    assert f"is in {shard.name} and in zz.safetensors" in refusal(folder)


@pytest.mark.parametrize("config", ["{", "[]", "{}", '{"architectures": null}'])
def test_a_folder_without_our_architecture_is_not_ours(folder: Path, config: str) -> None:
    assert is_kimi_checkpoint(folder)
    (folder / "config.json").write_text(config)
    assert not is_kimi_checkpoint(folder)
