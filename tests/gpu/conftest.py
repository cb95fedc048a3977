"""Tests that need an NVIDIA GPU: skipped elsewhere; `make test-gpu` says so and fails."""

from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if Path(str(item.fspath)).parent == FOLDER:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU here"))


@pytest.fixture(autouse=True)
def free_memory():
    """Give back what a test held: the next may need most of the card."""
    yield
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
