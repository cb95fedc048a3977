"""A mini checkpoint with random weights for the reference's own tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sglang_kimi.launch.mini.writer import write_mini_checkpoint

from .kimi_reference import KimiReference


@pytest.fixture(scope="session")
def reference_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("mini") / "checkpoint"
    write_mini_checkpoint(folder, seed=7)
    return folder


@pytest.fixture(scope="session")
def reference(reference_checkpoint: Path) -> KimiReference:
    return KimiReference(reference_checkpoint)


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Small products wait longer for other threads than they take, more so on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
