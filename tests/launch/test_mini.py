"""A mini checkpoint has the release's form on disk; the same seed gives the same bytes."""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections import Counter, namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from sglang_kimi.checkpoint import checkpoint_tensors, is_vision_tensor
from sglang_kimi.launch.jsonlines import UsageError
from sglang_kimi.launch.mini import writer
from sglang_kimi.launch.mini.command import add_parser
from sglang_kimi.launch.mini.config import FULL, MINI, checkpoint_config
from sglang_kimi.launch.mini.weights import random_tensor
from sglang_kimi.launch.mini.writer import MiniError, write_mini_checkpoint

# Any change of the random weights changes every figure measured with them: say so in the commit.
SHARDS_OF_SEED_0 = "9c204c46ddabb85d04afadda84e36f20f014a1e42167de94e1087533c2e395b6"


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini") / "checkpoint"
    write_mini_checkpoint(folder)
    return folder


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def digest_of_shards(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def run_command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    args = parser.parse_args(["mini", *arguments])
    status: int = args.run(args)
    return status


def test_shards_hold_exactly_the_tensors_of_the_config(mini: Path) -> None:
    expected = checkpoint_tensors(read_json(mini / "config.json"))
    index = read_json(mini / "model.safetensors.index.json")
    assert index["metadata"]["total_size"] == sum(spec.num_bytes for spec in expected.values())
    shards = sorted(set(index["weight_map"].values()))
    assert shards == [f"model-{i:05d}-of-000004.safetensors" for i in (1, 2, 3, 4)]
    found = {}
    for shard in shards:
        with safe_open(str(mini / shard), framework="np") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a dictionary)
                piece = tensors.get_slice(name)
                found[name] = (tuple(piece.get_shape()), piece.get_dtype())
                assert index["weight_map"][name] == shard
    assert found == {name: (spec.shape, spec.dtype) for name, spec in expected.items()}
    assert any(is_vision_tensor(name) for name in found)


def test_size_is_a_few_million_parameters_and_dimensions_divide_over_eight_ranks(
    tmp_path: Path,
) -> None:
    report = write_mini_checkpoint(tmp_path / "mini")
    assert 2_000_000 < report.num_parameters < 10_000_000
    assert MINI.num_attention_heads % 8 == MINI.n_routed_experts % 8 == 0
    assert MINI.moe_intermediate_size // 4 % 32 == 0


def test_the_same_seed_gives_the_same_bytes_on_every_machine(mini: Path, tmp_path: Path) -> None:
    assert digest_of_shards(mini) == SHARDS_OF_SEED_0
    write_mini_checkpoint(tmp_path / "again", seed=0)
    for path in mini.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name
    write_mini_checkpoint(tmp_path / "other", seed=1)
    assert digest_of_shards(tmp_path / "other") != SHARDS_OF_SEED_0


def test_a_tensor_depends_on_its_name_not_on_what_was_made_before() -> None:
    tensors = checkpoint_tensors(checkpoint_config(MINI))
    name = "language_model.model.layers.2.mlp.experts.3.up_proj.weight_packed"
    alone = random_tensor(name, tensors, 0)
    random_tensor("language_model.lm_head.weight", tensors, 0)
    assert random_tensor(name, tensors, 0) == alone
    assert random_tensor(name.replace("experts.3", "experts.4"), tensors, 0) != alone


def test_expert_codes_use_all_sixteen_values_around_zero() -> None:
    tensors = checkpoint_tensors(checkpoint_config(MINI))
    name = "language_model.model.layers.1.mlp.experts.0.gate_proj.weight_packed"
    counts: Counter[int] = Counter()
    for octet in random_tensor(name, tensors, 0):
        counts.update((octet & 15, octet >> 4))
    assert set(counts) == set(range(16))
    mean = sum((code - 8) * count for code, count in counts.items()) / sum(counts.values())
    assert abs(mean) < 0.1
    assert counts[8] == max(counts.values())


def test_weight_shape_names_outputs_and_inputs(mini: Path) -> None:
    name = "language_model.model.layers.1.mlp.experts.15.down_proj.weight_shape"
    shard = read_json(mini / "model.safetensors.index.json")["weight_map"][name]
    with safe_open(str(mini / shard), framework="np") as tensors:
        assert tensors.get_tensor(name).tolist() == [MINI.hidden_size, MINI.moe_intermediate_size]


def test_router_bias_is_not_zero() -> None:
    tensors = checkpoint_tensors(checkpoint_config(MINI))
    name = "language_model.model.layers.1.mlp.gate.e_score_correction_bias"
    stored = random_tensor(name, tensors, 0)
    assert len(set(zip(*[iter(stored)] * 4, strict=True))) == MINI.n_routed_experts


def test_layers_can_be_chosen(tmp_path: Path) -> None:
    report = write_mini_checkpoint(tmp_path / "two", num_layers=2)
    assert report.num_layers == 2
    assert read_json(tmp_path / "two/config.json")["text_config"]["num_hidden_layers"] == 2
    for wrong in (0, 62):
        with pytest.raises(MiniError, match=f"layers: want 1 to 61, got {wrong}"):
            write_mini_checkpoint(tmp_path / "none", num_layers=wrong)


def test_true_size_layers_are_moe_layers_only_of_the_published_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = writer._only_layers(checkpoint_config(FULL))
    routed = [spec.num_bytes for name, spec in tensors.items() if ".experts." in name]
    assert sum(routed) == 9_512_681_472 + 384 * 3 * 8  # FORMAT section 1.5, and the shapes
    assert {name.split(".layers.")[1][0] for name in tensors} == {"0"}

    # The same way through the writer, with the small sizes in place of the large.
    monkeypatch.setattr(writer, "FULL", replace(MINI, num_hidden_layers=1, first_k_dense_replace=0))
    report = write_mini_checkpoint(tmp_path / "full", geometry="full")
    assert report.geometry == "full"
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == [
        "config.json",
        "model-00001-of-000001.safetensors",
        "model.safetensors.index.json",
        "sglang-kimi-mini.json",
    ]


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(MiniError, match=r"holds notes\.txt, which this command did not write"):
        write_mini_checkpoint(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(MiniError, match="is a file; name a folder"):
        write_mini_checkpoint(tmp_path / "notes.txt")


def test_a_folder_of_ours_is_replaced_unless_something_was_added(tmp_path: Path) -> None:
    folder = tmp_path / "mini"
    folder.mkdir()
    write_mini_checkpoint(folder, seed=1)
    first = digest_of_shards(folder)
    write_mini_checkpoint(folder, seed=2)
    assert digest_of_shards(folder) != first
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(MiniError, match=r"holds notes\.txt"):
        write_mini_checkpoint(folder, seed=1)


def test_an_interrupted_write_leaves_the_old_folder_and_no_rest(tmp_path: Path) -> None:
    folder = tmp_path / "mini"
    write_mini_checkpoint(folder, seed=1)
    before = digest_of_shards(folder)

    def interrupt(written: int, total: int) -> None:
        if written > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_mini_checkpoint(folder, seed=2, progress=interrupt)
    assert digest_of_shards(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["mini"]


def test_a_full_disk_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, 10**9))
    with pytest.raises(MiniError, match=r"1\.0 GB free, want 10\.1 GB; free some space"):
        write_mini_checkpoint(tmp_path / "deep/full", geometry="full")
    assert not list(tmp_path.iterdir())


def test_progress_counts_all_bytes_up(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = write_mini_checkpoint(
        tmp_path / "mini", progress=lambda written, total: seen.append((written, total))
    )
    assert [written for written, _ in seen] == sorted(written for written, _ in seen)
    assert seen[-1] == (report.num_bytes, report.num_bytes)
    assert len(seen) == report.num_tensors


def test_the_command_says_what_it_wrote_and_that_the_weights_are_random(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(str(tmp_path / "mini"), "--random", "--seed", "0") == 0
    printed = capsys.readouterr().out
    assert "random weights (seed 0)" in printed
    assert f"sglang-kimi serve {tmp_path / 'mini'}" in printed
    assert digest_of_shards(tmp_path / "mini") == SHARDS_OF_SEED_0


def test_the_command_turns_a_refusal_into_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds notes\.txt"):
        run_command(str(tmp_path))


@pytest.mark.parametrize("seed", ["-1", "x", "1.5"])
def test_a_seed_that_is_no_number_is_named(
    tmp_path: Path, seed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run_command(str(tmp_path / "mini"), f"--seed={seed}")
    assert stop.value.code == 2
    assert f"want a number from 0 up, got {seed!r}" in capsys.readouterr().err


def test_a_command_that_is_ended_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sglang_kimi.launch", "mini", str(tmp_path / "big")]
    process = subprocess.Popen([*command, "--geometry", "full"], stderr=subprocess.DEVNULL)
    while process.poll() is None and not any(tmp_path.glob(".big.partial-*/*")):
        time.sleep(0.02)
    process.terminate()
    assert process.wait(timeout=60) == 143
    assert list(tmp_path.iterdir()) == []
