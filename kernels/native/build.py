"""Compile the C++ kernels into one shared library with a plain C interface.

Its name holds a digest of sources and flags, so a library never serves other sources than its own.
Used when a wheel is built, and on first use where no wheel brought it. Standard library only.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent
SOURCES: Final = ("int4_experts.cpp", "linear.cpp", "mla.cpp")
_HEADERS: Final = (
    "simd.h",
    "lanes.h",
    "int4_rows.h",
    "int4_tiles.h",
    "mla_tiles.h",
    "mla_blocks.h",
)
_FLAGS: Final = (
    *("-O3", "-march=x86-64-v3", "-std=c++17", "-fopenmp", "-fPIC", "-shared"),
    *("-fvisibility=hidden", "-Wall", "-Wextra"),
)


class BuildError(RuntimeError):
    """The library could not be compiled; the text says what to do."""


def library_name() -> str:
    """Return the file name of the library of these sources."""
    digest = hashlib.sha256(" ".join(_FLAGS).encode())
    for name in (*SOURCES, *_HEADERS):
        digest.update((FOLDER / name).read_bytes())
    return f"libkimi_kernels-{digest.hexdigest()[:12]}.so"


def compile_library(folder: Path) -> Path:
    """Compile into a folder, which is made, and return the library's path.

    The compiler is CXX, else g++, else clang++. Takes some seconds. Raises BuildError.
    """
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise BuildError("no C++ compiler: install g++, or name one in CXX")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / library_name()
    part = target.with_suffix(f".{os.getpid()}")
    command = [*compiler.split(), *_FLAGS, "-o", str(part), *(str(FOLDER / s) for s in SOURCES)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"{compiler}: {error}") from error
    if done.returncode:
        raise BuildError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    part.replace(target)  # another process may be compiling the same
    return target
