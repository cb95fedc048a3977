"""How the environment is built, with a stand-in for the installer and no network."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sglang_kimi.launch import environment
from sglang_kimi.launch.environment import SetupError

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = """
[project]
dependencies = ["alpha==1"]
optional-dependencies.dev = ["beta"]
"""
FAKE_UV = """
import os, pathlib, subprocess, sys
words = sys.argv[1:]
with open(os.environ["UV_CALLS"], "a") as calls:
    print(*words, file=calls)
if words[0] == "venv":
    make = [sys.executable, "-m", "venv", "--without-pip", "--clear"]
    subprocess.run([*make, words[-1]], check=True)
elif "alpha==1" in words and os.environ.get("UV_BREAKS"):
    print("no such package", file=sys.stderr)
    sys.exit(2)
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """Return checkout, cache and the list of what the installer was called with."""
    checkout, cache, calls = tmp_path / "check out", tmp_path / "cache", tmp_path / "calls"
    checkout.mkdir()
    (checkout / "pyproject.toml").write_text(PYPROJECT)
    script, uv = tmp_path / "uv.py", tmp_path / "uv"
    script.write_text(FAKE_UV)
    uv.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    uv.chmod(0o755)
    monkeypatch.setenv("UV", str(uv))
    monkeypatch.setenv("UV_CALLS", str(calls))
    return checkout, cache, calls


def installs(calls: Path) -> list[str]:
    """Return what was installed, without options."""
    lines = calls.read_text().splitlines() if calls.exists() else []
    return [line.split(" ", 4)[-1] for line in lines if line.startswith("pip install")]


def test_the_first_build_installs_requirements_once_and_the_checkout_on_top(
    world: tuple[Path, Path, Path],
) -> None:
    checkout, cache, calls = world
    venv = environment.ensure_checkout_venv(checkout, cache)
    first, second = installs(calls)
    assert first == "alpha==1 beta"
    assert second.endswith(f"--no-deps --no-build-isolation --editable {checkout}")
    probe = "import sys; print(sys.prefix); print([p for p in sys.path if 'deps-' in p])"
    output = subprocess.check_output([venv / "bin" / "python", "-c", probe], text=True)
    prefix, deps = output.splitlines()
    assert Path(prefix) == venv == checkout / ".venv"
    assert environment.deps_name(["alpha==1", "beta"]) in deps


def test_nothing_is_called_again_while_nothing_has_changed(world: tuple[Path, Path, Path]) -> None:
    checkout, cache, calls = world
    environment.ensure_checkout_venv(checkout, cache)
    before = calls.read_text()
    environment.ensure_checkout_venv(checkout, cache)
    assert calls.read_text() == before


def test_what_is_installed_gets_bytecode_once_whatever_does_not_compile(
    world: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    checkout, cache, calls = world
    environment.ensure_checkout_venv(checkout, cache)
    deps = cache / environment.deps_name(["alpha==1", "beta"])
    [packages] = deps.glob("lib/*/site-packages")
    (packages / "alpha.py").write_text("VALUE = 1")
    (packages / "old.py").write_text("print 'of another Python'")
    (deps / environment.COMPILED).unlink()  # as an older release left it
    environment.ensure_checkout_venv(checkout, cache)
    assert [path.name.split(".")[0] for path in packages.glob("__pycache__/a*.pyc")] == ["alpha"]
    assert len(installs(calls)) == 3  # the requirements once, the checkout twice
    (packages / "late.py").write_text("VALUE = 1")
    environment.ensure_checkout_venv(checkout, cache)
    assert not [*packages.glob("__pycache__/late*")]


def test_another_package_list_reinstalls_the_checkout_but_not_the_requirements(
    world: tuple[Path, Path, Path],
) -> None:
    checkout, cache, calls = world
    environment.ensure_checkout_venv(checkout, cache)
    with (checkout / "pyproject.toml").open("a") as file:
        file.write('[tool.setuptools]\npackages = ["x"]\n')
    environment.ensure_checkout_venv(checkout, cache)
    assert len(installs(calls)) == 3 and "--editable" in installs(calls)[-1]


def test_a_second_checkout_shares_the_requirements_and_not_the_code(
    world: tuple[Path, Path, Path],
) -> None:
    checkout, cache, calls = world
    other = checkout.with_name("other")
    shutil.copytree(checkout, other)
    environment.ensure_checkout_venv(checkout, cache)
    environment.ensure_checkout_venv(other, cache)
    assert [line for line in installs(calls) if "alpha" in line] == ["alpha==1 beta"]
    assert installs(calls)[-1].endswith(f"--editable {other}")


def test_a_moved_checkout_is_built_anew(world: tuple[Path, Path, Path]) -> None:
    checkout, cache, calls = world
    environment.ensure_checkout_venv(checkout, cache)
    moved = checkout.rename(checkout.with_name("moved"))
    environment.ensure_checkout_venv(moved, cache)
    assert installs(calls)[-1].endswith(f"--editable {moved}")


def test_an_interrupted_install_is_never_taken_for_whole(
    world: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout, cache, calls = world
    monkeypatch.setenv("UV_BREAKS", "1")
    with pytest.raises(SetupError, match="ended with status 2"):
        environment.ensure_checkout_venv(checkout, cache)
    leftover = next(cache.glob("deps-*")) / "half-written"
    leftover.write_text("")
    monkeypatch.delenv("UV_BREAKS")
    environment.ensure_checkout_venv(checkout, cache)
    assert not leftover.exists()
    assert [line for line in installs(calls) if "alpha" in line] == ["alpha==1 beta"] * 2


def test_too_little_disk_space_is_said_with_the_cure_before_anything_is_written(
    world: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout, cache, calls = world
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 3 * 10**9}))
    with pytest.raises(SetupError, match=r"want 14 GB free .*found 3\.0 GB.*XDG_CACHE_HOME"):
        environment.ensure_checkout_venv(checkout, cache)
    assert installs(calls) == []


def test_requirements_of_other_checkouts_go_only_when_asked(world: tuple[Path, Path, Path]) -> None:
    checkout, cache, _ = world
    environment.ensure_checkout_venv(checkout, cache)
    (cache / "deps-000000000000").mkdir()
    environment.ensure_checkout_venv(checkout, cache)
    assert len(list(cache.glob("deps-*"))) == 2
    environment.remove_unused_deps(checkout, cache)
    assert [path.name for path in cache.glob("deps-*")] == [
        environment.deps_name(["alpha==1", "beta"])
    ]


def test_the_name_of_a_set_depends_on_what_is_installed_not_on_its_order() -> None:
    assert environment.deps_name(["a", "b"]) == environment.deps_name(["b", "a"])
    assert environment.deps_name(["a", "b"]) != environment.deps_name(["a", "b==2"])


def test_the_script_runs_by_path_without_the_package(tmp_path: Path) -> None:
    """It has to: nothing is installed when the Makefile calls it."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "launch" / "environment.py"), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "--print-path" in done.stdout


def test_the_makefile_names_the_cure_where_no_python_runs(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "make", "env"):
        (tools / name).symlink_to(str(shutil.which(name)))
    shim = tools / "python3.11"
    shim.write_text("#!/bin/bash\necho 'python3.11: command not found' >&2; exit 127\n")
    shim.chmod(0o755)
    done = subprocess.run(
        ["make", "-s", "-C", str(ROOT), "venv-path"],
        env={"PATH": str(tools), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and done.stdout == ""
    assert "no Python 3.11 or newer that runs" in done.stderr
    assert "PYTHON=/path/to/python3.11" in done.stderr


def test_the_stamp_names_what_the_environment_was_built_from(
    world: tuple[Path, Path, Path],
) -> None:
    checkout, cache, _ = world
    venv = environment.ensure_checkout_venv(checkout, cache)
    stamp = json.loads((venv / environment.STAMP).read_text())
    assert stamp["root"] == str(checkout) and stamp["deps"].startswith(str(cache))
