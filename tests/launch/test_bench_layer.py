"""`bench layer`: a checkpoint's own experts, mapped, checked against float64, memory limited."""

import json
import shutil
import sys
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from pathlib import Path

import pytest
import torch

from sglang_kimi.checkpoint import CheckpointError
from sglang_kimi.kernels.moe.int4 import moe_int4
from sglang_kimi.kernels.native.library import native_library
from sglang_kimi.launch.bench import memory_limit
from sglang_kimi.launch.bench.layer_experts import exact_sum, map_layer
from sglang_kimi.launch.bench.layer_table import relative_error, routed_tokens
from sglang_kimi.launch.bench.memory_limit import MemoryLimitError, parse_bytes, run_limited
from sglang_kimi.launch.bench.process_memory import process_memory
from sglang_kimi.launch.cli import main
from sglang_kimi.mapped_shard import MappedTensor

MIB = 1 << 20


def test_the_first_layer_with_experts_is_mapped_where_none_is_named(mini_checkpoint: Path) -> None:
    layer = map_layer(mini_checkpoint, None)
    assert layer.layer_id == 1
    assert layer.experts.num_local_experts == 16
    assert isinstance(layer.experts.gate[0], MappedTensor)


def test_layers_differ(mini_checkpoint: Path) -> None:
    first, last = (map_layer(mini_checkpoint, layer_id).experts for layer_id in (1, 3))
    assert not torch.equal(first.down[2].clone(), last.down[2].clone())


@pytest.mark.parametrize("layer_id", [0, 4, -1])
def test_a_layer_without_routed_experts_is_refused(mini_checkpoint: Path, layer_id: int) -> None:
    with pytest.raises(CheckpointError, match=rf"layer {layer_id} has no .*\[1, 2, 3\]"):
        map_layer(mini_checkpoint, layer_id)


def test_the_sum_in_float64_is_what_the_kernels_approach(mini_checkpoint: Path) -> None:
    layer = map_layer(mini_checkpoint, 2)
    x, ids, weights = routed_tokens(layer, 3, seed=1)
    output = moe_int4(x, layer.experts, ids, weights)
    exact = exact_sum(layer.experts, x[1], ids[1], weights[1])
    assert exact.dtype == torch.float64
    torch.testing.assert_close(output[1].double(), exact, rtol=1e-3, atol=1e-3)


def test_a_wrong_output_shows_in_the_error(
    mini_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = map_layer(mini_checkpoint, 1)
    inputs = routed_tokens(layer, 4, seed=2)
    assert relative_error(layer, inputs) < 1e-3
    monkeypatch.setattr(
        "sglang_kimi.launch.bench.layer_table.moe_int4", lambda x, *_: moe_int4(x, *_) * 1.01
    )
    assert relative_error(layer, inputs) == pytest.approx(0.01, rel=0.05)


def test_the_command_shows_a_row_for_each_batch_and_what_is_resident(
    mini_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if native_library() is None:
        pytest.skip("no kernel on this CPU, or no compiler")
    assert main(["bench", "layer", str(mini_checkpoint), "--rounds", "1", "--cold"]) == 0
    shown = capsys.readouterr().out
    assert "16 experts, hidden 256, intermediate 128, top-4" in shown
    assert all(row in shown for row in ("decode, 1 token ", "decode, 32 tokens", "prefill, 64 tok"))
    assert "anonymous" in shown


def test_a_folder_that_is_no_checkpoint_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "layer", str(tmp_path)]) == 2
    assert "config.json" in capsys.readouterr().err


def test_a_checkpoint_that_lacks_an_expert_is_refused_by_its_name(
    mini_checkpoint: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(mini_checkpoint, tmp_path / "short")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["n_routed_experts"] = 17
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.experts\.16\.gate_proj"):
        map_layer(folder, 1)


@pytest.mark.parametrize(
    ("text", "num_bytes"), [("4G", 4 << 30), ("512m", 512 << 20), ("8K", 8192), ("1000", 1000)]
)
def test_limits_are_read_with_their_unit(text: str, num_bytes: int) -> None:
    assert parse_bytes(text) == num_bytes


@pytest.mark.parametrize("text", ["", "0", "4T", "-4G", "4.5G", "G", "4 G B"])
def test_other_limits_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="want a number of bytes such as 4G"):
        parse_bytes(text)


def test_groups_of_both_versions_are_looked_for_from_the_process_upwards(tmp_path: Path) -> None:
    (tmp_path / "memory/a/b").mkdir(parents=True)
    v1 = [path for path, _ in memory_limit._parents("4:cpu,memory:/a/b\n0::/\n", tmp_path)]
    assert v1 == [tmp_path / "memory/a/b", tmp_path / "memory/a", tmp_path / "memory", tmp_path]
    (tmp_path / "user").mkdir()
    v2 = [path for path, _ in memory_limit._parents("0::/user/gone\n", tmp_path)]
    assert v2 == [tmp_path / "user", tmp_path]


def test_where_no_group_can_be_made_another_way_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_limit, "CGROUP_ROOT", tmp_path)
    with pytest.raises(MemoryLimitError, match=r"systemd-run .*MemoryMax=4096"):
        run_limited(["true"], 4096)
    assert not list(tmp_path.iterdir())


def limited(code: str, limit: int) -> memory_limit.LimitedRun:
    try:
        return run_limited([sys.executable, "-c", code], limit)
    except MemoryLimitError as error:
        pytest.skip(str(error))


def test_a_process_cannot_have_more_than_its_limit() -> None:
    assert limited(f"bytearray({8 * MIB})", 64 * MIB).returncode == 0
    assert limited(f"b'x' * {128 * MIB}", 64 * MIB).returncode == -9


def test_the_groups_peak_is_what_the_process_had() -> None:
    done = limited(f"b'x' * {32 * MIB}", 128 * MIB)
    assert done.peak_bytes is None or 32 * MIB <= done.peak_bytes <= 128 * MIB


def test_memory_and_faults_of_a_process_grow_with_what_it_touches() -> None:
    before = process_memory()
    # malloc may give bytes again that were touched before; these are new
    held = mmap(-1, 16 * MIB, flags=MAP_PRIVATE | MAP_ANONYMOUS)
    held.write(b"x" * len(held))
    after = process_memory()
    assert after.anonymous - before.anonymous >= len(held) // 2
    assert after.minor_faults > before.minor_faults
    assert after.peak >= after.anonymous
