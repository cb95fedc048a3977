"""Fixtures that every test folder may use."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of shared facts (real tokenizer, golden prompts) or skip."""
    if not SHARED.is_dir():
        pytest.skip("the shared facts folder is not beside this checkout")
    return SHARED
