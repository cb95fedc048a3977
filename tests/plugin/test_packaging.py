"""What a user gets: wheel and sdist, built here and installed into a throw-away folder."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from sglang_kimi.kernels.native.build import VARIANTS, library_name

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
DATA = (
    "sglang_kimi/py.typed",
    "sglang_kimi/launch/mini/tiktoken.model",
    "sglang_kimi/launch/mini/chat_template.jinja",
    *(
        f"sglang_kimi/{file.relative_to(ROOT)}"
        for place in ("kernels/native/*.[ch]*", "kernels/moe/configs/*.*")
        for file in ROOT.glob(place)
    ),
)
IGNORED = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis"
)


def run(*command: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command away from the checkout; `path` becomes the only place of our package."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a wheel and an sdist, built from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("packaging")
    shutil.copytree(ROOT, folder / "checkout", ignore=IGNORED)
    build = [
        sys.executable,
        "-P",
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(folder / "dist"),
    ]
    done = run(*build, str(folder / "checkout"), cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "dist"


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which the wheel, and nothing else, was installed."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-P", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    done = run(*pip, "--target", str(target), str(next(dist.glob("*.whl"))), cwd=target)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def source_files() -> set[str]:
    """Return the package's modules and data by their place in an installed package."""
    names = set(DATA)
    for folder in ("sglang_kimi", "parsers", "kernels", "launch"):
        prefix = "" if folder == "sglang_kimi" else "sglang_kimi/"
        names |= {prefix + str(p.relative_to(ROOT)) for p in (ROOT / folder).rglob("*.py")}
    return names


def test_the_wheel_holds_every_module_and_data_file_and_nothing_else(dist: Path) -> None:
    names = set(zipfile.ZipFile(next(dist.glob("*.whl"))).namelist())
    ours = {name for name in names if ".dist-info/" not in name}
    compiled = {name for name in ours if name.endswith(".so")}
    assert ours - compiled == source_files()
    if shutil.which("g++"):
        folder = "sglang_kimi/kernels/native"
        assert compiled == {f"{folder}/{library_name(variant)}" for variant in VARIANTS}


def test_the_wheel_brings_one_top_level_name_the_licence_and_the_entry_points(dist: Path) -> None:
    wheel = zipfile.ZipFile(next(dist.glob("*.whl")))
    info = next(n.split("/")[0] for n in wheel.namelist() if ".dist-info/" in n)
    assert {n.split("/")[0] for n in wheel.namelist()} == {"sglang_kimi", info}
    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    notices = (ROOT / "THIRD_PARTY_NOTICES.md").read_bytes()
    assert wheel.read(f"{info}/licenses/THIRD_PARTY_NOTICES.md") == notices
    entry_points = wheel.read(f"{info}/entry_points.txt").decode()
    for line in (
        "kimi_cpu = sglang_kimi.plugin:platform",
        "kimi_cpu = sglang_kimi.plugin:register_cpu",
        "kimi_gpu = sglang_kimi.plugin:register_gpu",
        "kimi_model = sglang_kimi.plugin:register_model",
        "kimi_chat = sglang_kimi.plugin:register_chat",
        "sglang-kimi = sglang_kimi.launch.cli:main",
    ):
        assert line in entry_points.splitlines()


def test_the_sdist_can_be_built_from(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"pyproject.toml", project["readme"], *project["license-files"]} <= names
    assert {"parsers/vocabulary.py", "launch/mini/tiktoken.model", "sglang_kimi/py.typed"} <= names


def test_installed_rooms_are_found_under_the_package_and_nowhere_else(installed: Path) -> None:
    probe = (
        "import importlib.util as u, sglang_kimi.parsers, sglang_kimi.kernels, sglang_kimi.launch\n"
        "print(sglang_kimi.parsers.__file__)\n"
        "print([name for name in ('parsers', 'launch') if u.find_spec(name)])\n"
    )
    done = run(sys.executable, "-P", "-c", probe, cwd=installed.parent, path=installed)
    assert done.returncode == 0, done.stderr
    where, bare = done.stdout.splitlines()
    assert Path(where) == installed / "sglang_kimi" / "parsers" / "__init__.py"
    assert bare == "[]"


def test_an_installed_package_leaves_other_peoples_kernels_alone(installed: Path) -> None:
    """SGLang depends on a library of that name."""
    probe = "import importlib.util as u; print(u.find_spec('kernels').origin)"
    done = run(sys.executable, "-P", "-c", probe, cwd=installed.parent, path=installed)
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.strip()).is_relative_to(installed)
    assert not Path(done.stdout.strip()).is_relative_to(ROOT)


def test_the_installed_command_starts(installed: Path) -> None:
    command = [sys.executable, "-P", "-m", "sglang_kimi.launch", "--help"]
    done = run(*command, cwd=installed, path=installed)
    assert done.returncode == 0, done.stderr
    for verb in ("serve", "mini", "demo", "render", "parse"):
        assert verb in done.stdout


def test_a_checkout_that_is_not_installed_finds_its_rooms(tmp_path: Path) -> None:
    shutil.copytree(ROOT, tmp_path / "checkout", ignore=IGNORED)
    probe = "import sglang_kimi.parsers.vocabulary as v; print(v.__file__)"
    done = run(
        sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.'); {probe}",
        cwd=tmp_path / "checkout",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = (tmp_path / "checkout" / done.stdout.strip()).resolve()
    assert found == (tmp_path / "checkout" / "parsers" / "vocabulary.py").resolve()


def test_the_editable_install_of_this_environment_serves_from_the_checkout() -> None:
    probe = "import sglang_kimi.launch, sglang_kimi.codec; print(sglang_kimi.launch.__file__)"
    done = run(sys.executable, "-P", "-c", probe, cwd=Path(sys.prefix))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).resolve() == ROOT / "launch" / "__init__.py"
