"""Build the checkout's Python environment; the Makefile runs this file with any Python >= 3.11.

    CACHE/uv/                 the installer, where none is on PATH
    CACHE/deps-HASH/          SGLang and every other dependency, one folder per set of requirements
    CHECKOUT/.venv/           a few links: this checkout, editable, on top of one deps folder

The dependencies take 10 GB and minutes, so they are shared by all checkouts; the code must not be,
so each checkout has an environment of its own that costs seconds. Standard library only: it runs
before anything is installed. Messages go to standard error.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

FIRST_INSTALL_BYTES = 14 * 10**9
"""Disk space that a first install needs: 10 GB of packages, and room for the downloads."""
NEXT_INSTALL_BYTES = 5 * 10**9
"""The same when the installer's own cache already holds most packages (it links, not copies)."""
COMPLETE = ".complete"
COMPILED = ".compiled"
DEPS_LINK = "_sglang_kimi_deps.pth"
STAMP = ".sglang-kimi.json"


class SetupError(RuntimeError):
    """The environment cannot be built. The message names the cure; show it as is."""


def say(text: str) -> None:
    """Print a line of progress to standard error."""
    print(f"[venv] {text}", file=sys.stderr, flush=True)


def default_cache() -> Path:
    """Return the folder that holds installer and dependencies."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(Path.home(), ".cache")
    return Path(base) / "sglang-kimi"


def read_requirements(pyproject: Path) -> list[str]:
    """Return what `pyproject` asks for, the extra `dev` included, in the order of the file."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dev"]]


def deps_name(requirements: Sequence[str]) -> str:
    """Return the folder name for these requirements under this Python and machine.

    Only what is installed counts: another package list or version of ours changes nothing.
    """
    facts = [*sorted(requirements), platform.python_implementation(), platform.machine()]
    facts.append("{}.{}".format(*sys.version_info))
    return "deps-" + hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def check_disk_space(cache: Path) -> None:
    """Raise SetupError where the cache's disk has no room for another set of dependencies."""
    is_first = not any(cache.glob(f"deps-*/{COMPLETE}"))
    need = FIRST_INSTALL_BYTES if is_first else NEXT_INSTALL_BYTES
    free = shutil.disk_usage(cache).free
    if free < need:
        raise SetupError(
            f"disk space: want {need / 1e9:.0f} GB free for the dependencies in {cache}, found "
            f"{free / 1e9:.1f} GB. Free some (`make clean-cache` removes sets of dependencies no "
            "longer used), or name a folder on a larger disk: XDG_CACHE_HOME=/large/disk make venv"
        )


def find_uv(cache: Path) -> Path:
    """Return the installer `uv`: variable UV, PATH, our cache, else installed into our cache."""
    own = cache / "uv" / "bin" / "uv"
    for candidate in (os.environ.get("UV"), shutil.which("uv"), str(own)):
        if candidate and _runs([candidate, "--version"]):
            return Path(candidate)
    say("fetching the installer uv (once)")
    shutil.rmtree(cache / "uv", ignore_errors=True)
    try:
        _run([sys.executable, "-m", "venv", str(cache / "uv")])
    except SetupError as error:
        raise SetupError(
            f"{sys.executable} cannot make environments. Install its venv module "
            "(Debian, Ubuntu: apt-get install python3-venv), or install uv"
        ) from error
    _run([str(cache / "uv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv"])
    return own


def ensure_deps(cache: Path, requirements: Sequence[str]) -> Path:
    """Return the folder with `requirements` installed; install them if it is not there whole.

    The last thing written is a marker: a folder without it is an interrupted install and is
    removed. What was downloaded stays in the installer's cache.
    """
    deps = cache / deps_name(requirements)
    if not ((deps / COMPLETE).is_file() and _runs([str(deps / "bin" / "python"), "-c", ""])):
        _install(cache, deps, requirements)
    if not (deps / COMPILED).is_file():
        _compile(deps)
    return deps


def _install(cache: Path, deps: Path, requirements: Sequence[str]) -> None:
    shutil.rmtree(deps, ignore_errors=True)
    check_disk_space(cache)
    uv = str(find_uv(cache))
    say(f"installing {len(requirements)} requirements and what they need into {deps}")
    say("about 10 GB; minutes on the first time, seconds when the downloads are cached")
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(deps)])
    _run([uv, "pip", "install", "--python", str(deps / "bin" / "python"), *requirements])
    (deps / COMPLETE).write_text("\n".join(requirements) + "\n", encoding="utf-8")


def _compile(deps: Path) -> None:
    """Write bytecode of everything: importing SGLang takes 14 s with it and 32 s without.

    Python would write it by itself, but not under PYTHONDONTWRITEBYTECODE, as in many containers.
    """
    say("compiling what is installed to bytecode (once, about a minute)")
    command = [str(deps / "bin" / "python"), "-m", "compileall", "-qq", "-j", "0"]
    _runs([*command, str(_site_packages(deps))])  # not all: some files are of other Python versions
    (deps / COMPILED).touch()


def ensure_checkout_venv(root: Path, cache: Path) -> Path:
    """Return the checkout's `.venv`, built or brought up to date; quick when nothing changed."""
    venv, python = root / ".venv", root / ".venv" / "bin" / "python"
    deps = cache / deps_name(read_requirements(root / "pyproject.toml"))
    wanted = {"deps": str(deps), "pyproject": _digest(root / "pyproject.toml"), "root": str(root)}
    if (
        _read_stamp(venv) == wanted
        and all((deps / marker).is_file() for marker in (COMPLETE, COMPILED))
        and _runs([str(python), "-c", ""])
    ):
        return venv
    with _one_at_a_time(cache):
        ensure_deps(cache, read_requirements(root / "pyproject.toml"))
        uv = str(find_uv(cache))
        if not _is_venv_of(python, deps):
            say(f"making {venv}")
            _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)])
        site_packages = _site_packages(venv)
        link = f"import site; site.addsitedir({str(_site_packages(deps))!r})\n"
        _write_whole(site_packages / DEPS_LINK, link)
        # The build tool comes from the dependencies: no download, so it works without a network.
        install = [uv, "pip", "install", "--quiet", "--python", str(python), "--no-deps"]
        _run([*install, "--no-build-isolation", "--editable", str(root)])
        _write_whole(venv / STAMP, json.dumps(wanted) + "\n")
    return venv


def remove_unused_deps(root: Path, cache: Path) -> None:
    """Remove every set of dependencies but the one that `root` uses; say what was freed."""
    keep = deps_name(read_requirements(root / "pyproject.toml"))
    with _one_at_a_time(cache):
        for folder in sorted(cache.glob("deps-*")):
            if folder.is_dir() and folder.name != keep:
                say(f"removing {folder}")
                shutil.rmtree(folder)
    say(f"kept {cache / keep}; uv's own downloads are removed by `uv cache clean`")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_stamp(venv: Path) -> object:
    try:
        return json.loads((venv / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _is_venv_of(python: Path, deps: Path) -> bool:
    version = ["-c", "import sys; print(sys.version_info[:2])"]
    try:
        runs = [
            subprocess.run([p, *version], capture_output=True, check=True)
            for p in (python, deps / "bin" / "python")
        ]
    except (OSError, subprocess.CalledProcessError):
        return False
    return runs[0].stdout == runs[1].stdout


def _site_packages(venv: Path) -> Path:
    return venv / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"


def _write_whole(path: Path, text: str) -> None:
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)


@contextlib.contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another make is installing; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _runs(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def _run(command: Sequence[str]) -> None:
    environment = {"UV_HTTP_TIMEOUT": "180"} | os.environ
    environment.pop("VIRTUAL_ENV", None)  # an active environment of the user's is not the target
    status = subprocess.run(command, stdout=sys.stderr, env=environment).returncode
    if status != 0:
        raise SetupError(f"`{' '.join(command)}` ended with status {status}; its words are above")


def main(argv: Sequence[str] | None = None) -> int:
    """Build the environment (or `--clean-cache`); print its folder with `--print-path`."""
    parser = argparse.ArgumentParser(prog="environment.py", description=main.__doc__)
    parser.add_argument("--print-path", action="store_true")
    parser.add_argument("--clean-cache", action="store_true")
    args = parser.parse_args(argv)
    root, cache = Path(__file__).resolve().parent.parent, default_cache()
    try:
        if args.clean_cache:
            remove_unused_deps(root, cache)
            return 0
        venv = ensure_checkout_venv(root, cache)
    except (SetupError, OSError) as error:
        say(f"error: {error}")
        return 1
    if args.print_path:
        print(venv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
