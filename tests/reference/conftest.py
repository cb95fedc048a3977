"""A mini checkpoint with random weights for the reference's own tests."""

from pathlib import Path

import pytest

from sglang_kimi.launch.mini.writer import write_mini_checkpoint

from .kimi_reference import KimiReference


@pytest.fixture(scope="session")
def mini_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("mini") / "checkpoint"
    write_mini_checkpoint(folder, seed=7)
    return folder


@pytest.fixture(scope="session")
def reference(mini_checkpoint: Path) -> KimiReference:
    return KimiReference(mini_checkpoint)
