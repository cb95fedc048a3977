"""Fixtures that every test folder may use."""

from pathlib import Path

import pytest
from hypothesis import settings

# Tests say what is right, not how fast: a busy machine must not fail them.
settings.register_profile("sglang-kimi", deadline=None)
settings.load_profile("sglang-kimi")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of shared facts (real tokenizer, golden prompts) or skip."""
    if not SHARED.is_dir():
        pytest.skip("the shared facts folder is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def mini_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a mini checkpoint, written once; tests that change one copy it first."""
    from sglang_kimi.launch.mini.writer import write_mini_checkpoint

    folder = tmp_path_factory.mktemp("mini") / "kimi-mini"
    write_mini_checkpoint(folder, seed=0)
    return folder
