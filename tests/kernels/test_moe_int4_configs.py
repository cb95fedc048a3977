"""Tile sizes come from the file of the device, by shape and number of tokens, else by default."""

from pathlib import Path

import pytest
import torch

from sglang_kimi.kernels.moe import int4_configs
from sglang_kimi.kernels.moe.int4 import Int4Experts
from sglang_kimi.kernels.moe.int4_configs import (
    ExpertsShape,
    Int4Config,
    Tile,
    config_entry,
    default_config,
    find_config,
    measured_configs,
    nearest_bucket,
    read_configs,
    write_configs,
)

DEVICE = "NVIDIA Test 80GB"
SMALL = Int4Config(16, gate_up=Tile(64, 32, 4, 3), down=Tile(128, 16, 8, 2))
LARGE = Int4Config(64, gate_up=Tile(128, 32, 8, 3), down=Tile(128, 32, 8, 3))


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's cache and the wheel's files out."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(int4_configs, "PACKAGED", tmp_path / "packaged")
    measured_configs.cache_clear()
    return tmp_path


def write(folder: Path, entries: dict[int, Int4Config], shape: str = "48x7168x2048") -> Path:
    path = folder / int4_configs.file_name(DEVICE)
    write_configs(
        path, DEVICE, "3.8.0", shape, {n: config_entry(c, 41.04) for n, c in entries.items()}
    )
    return path


def test_a_written_file_reads_back(folders: Path) -> None:
    path = write(folders, {8: SMALL, 512: LARGE})
    assert read_configs(path) == {"48x7168x2048": {8: SMALL, 512: LARGE}}


def test_tuning_a_second_shape_keeps_the_first(folders: Path) -> None:
    write(folders, {8: SMALL})
    path = write(folders, {8: LARGE}, "384x7168x256")
    assert read_configs(path) == {"48x7168x2048": {8: SMALL}, "384x7168x256": {8: LARGE}}


def test_a_users_file_wins_over_the_packaged_one(folders: Path) -> None:
    write(folders / "packaged", {8: LARGE})
    assert measured_configs(DEVICE, "48x7168x2048") == {8: LARGE}
    measured_configs.cache_clear()
    write(int4_configs.user_folder(), {8: SMALL})
    assert measured_configs(DEVICE, "48x7168x2048") == {8: SMALL}
    assert measured_configs(DEVICE, "1x1x1") == {}
    assert measured_configs("another device", "48x7168x2048") == {}


def test_a_number_of_tokens_takes_the_next_larger_bucket() -> None:
    assert [nearest_bucket((1, 8, 64), n) for n in (1, 2, 8, 9, 64, 65)] == [1, 8, 8, 64, 64, 64]


def test_a_broken_file_is_named_with_what_to_do(folders: Path) -> None:
    path = folders / "packaged" / int4_configs.file_name(DEVICE)
    path.parent.mkdir()
    for text in ("{", '{"shapes": {"a": {"8": {"block_m": 16}}}}', '{"shapes": 3}', "[]"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"nvidia_test_80gb.json: want .* tune again"):
            measured_configs(DEVICE, "48x7168x2048")


def test_blocks_grow_with_the_rows_an_expert_has() -> None:
    sizes = [default_config(rows, (9, 0)).block_m for rows in (0.2, 16, 17, 48, 49, 4000)]
    assert sizes == [16, 16, 32, 32, 64, 64]


def test_default_tiles_stay_out_of_blackwells_tensor_memory() -> None:
    assert default_config(8, (9, 0)).gate_up.block_n == 64
    assert default_config(8, (10, 0)).gate_up.block_n == 32
    assert default_config(8, (10, 3)).down.block_n == 32


def test_every_packaged_file_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = Path(int4_configs.__file__).parent / "configs"
    assert packaged.is_dir()
    for path in packaged.glob("*.json"):
        assert read_configs(path)


def test_without_a_gpu_the_default_is_used() -> None:
    experts = Int4Experts(
        torch.zeros(2, 64, 4, dtype=torch.int32),
        torch.zeros(2, 64, 1, dtype=torch.bfloat16),
        torch.zeros(2, 32, 4, dtype=torch.int32),
        torch.zeros(2, 32, 1, dtype=torch.bfloat16),
    )
    assert str(ExpertsShape.of(experts)) == "2x32x32"
    found = find_config(torch.device("cpu"), experts, num_tokens=4, num_rows=8)
    assert found == default_config(4, (0, 0))
