"""A broken checkpoint ends the start with one line that names what is wrong."""

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from sglang_kimi.launch.server_process import server_command, server_environment

NAME = "language_model.model.layers.1.mlp.experts.3.up_proj.weight_packed"


def rewrite(checkpoint, change):
    """Apply `change` to the tensors of the shard that holds NAME, and to the index."""
    index_path = checkpoint / "model.safetensors.index.json"
    index = json.loads(index_path.read_text())
    shard = index["weight_map"][NAME]
    with safe_open(checkpoint / shard, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors)
    save_file(tensors, checkpoint / shard)
    others = {name: file for name, file in index["weight_map"].items() if file != shard}
    index["weight_map"] = others | dict.fromkeys(tensors, shard)
    index_path.write_text(json.dumps(index))


def start(checkpoint):
    """Return (exit status, last line of the output) of a server that must not come up."""
    done = subprocess.run(
        server_command(checkpoint, ["--device", "cpu"]),
        env=server_environment(checkpoint),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, (done.stderr + done.stdout).strip().splitlines()[-1]


def remove(tensors):
    del tensors[NAME]


def rename(tensors):
    tensors[NAME + "_old"] = tensors.pop(NAME)


def reshape(tensors):
    tensors[NAME] = torch.zeros(2, 3, dtype=torch.int32)


def truncate(checkpoint):
    shard = sorted(checkpoint.glob("*.safetensors"))[-1]
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size - 1000)


BREAKS = {
    "removed": lambda checkpoint: rewrite(checkpoint, remove),
    "renamed": lambda checkpoint: rewrite(checkpoint, rename),
    "reshaped": lambda checkpoint: rewrite(checkpoint, reshape),
    "truncated": truncate,
}


@pytest.fixture(scope="module")
def outcomes(mini_checkpoint, tmp_path_factory):
    """Start a server on each broken checkpoint, two at a time; (exit status, last line) of each."""

    def outcome(name):
        folder = tmp_path_factory.mktemp(name) / "broken"
        checkpoint = shutil.copytree(mini_checkpoint, folder)
        BREAKS[name](checkpoint)
        return start(checkpoint)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(BREAKS, pool.map(outcome, BREAKS), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("removed", [NAME, "missing", "expected shape"]),
        ("renamed", [NAME + "_old", "unknown"]),
        ("reshaped", [NAME, "expected", "found [2, 3] I32"]),
    ],
)
def test_a_wrong_tensor_stops_the_start_with_its_name_and_shapes(outcomes, name, words):
    status, line = outcomes[name]
    assert status not in (0, None)
    assert all(word in line for word in words), line


@pytest.mark.slow
def test_a_truncated_shard_stops_the_start_with_its_name_and_sizes(outcomes, mini_checkpoint):
    shard = sorted(mini_checkpoint.glob("*.safetensors"))[-1]
    size = shard.stat().st_size
    status, line = outcomes["truncated"]
    assert status not in (0, None)
    assert shard.name in line and f"expected {size} bytes, found {size - 1000}" in line
