"""Fixtures that every test folder may use."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from sglang_kimi.launch.bench.workshop import OURS
from sglang_kimi.launch.server_process import ServerProcess

# Read when torch is loaded, later. Threads that spin while they wait take the cores from those they
# wait for, wherever anything else runs.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Tests say what is right, not how fast: a busy machine must not fail them.
settings.register_profile("sglang-kimi", deadline=None)
settings.load_profile("sglang-kimi")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def pytest_collection_finish() -> None:
    """Keep what the imports made, a million objects, out of every later search for garbage."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture(scope="session")
def started_server(
    mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """Start `python -m sglang.launch_server --model-path MINI --device cpu`, nothing else set."""
    log_path = tmp_path_factory.mktemp("server") / "server.log"
    with ServerProcess(mini_checkpoint, ["--device", "cpu"], log_path=log_path) as process:
        yield process


@pytest.fixture(scope="session")
def started_scripted_server(
    mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """Start a server whose model says what a request tells it to, with metrics."""
    log_path = tmp_path_factory.mktemp("scripted") / "server.log"
    flags = ["--device", "cpu", *OURS.flags]
    with ServerProcess(mini_checkpoint, flags, log_path=log_path) as process:
        yield process


@pytest.fixture(autouse=True, scope="session")
def servers_under_way(request: pytest.FixtureRequest) -> None:
    """Start the servers that a test of this run needs: they come up beside the unit tests."""
    needed = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    for name in ("started_server", "started_scripted_server"):
        if name in needed:
            request.getfixturevalue(name)
