"""Compile the C++ kernels into shared libraries with a plain C interface, one an instruction set.

A library's name holds a digest of sources and flags, so it never serves other sources than its own.
Used when a wheel is built, and on first use where no wheel brought it. Standard library only.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent
VARIANTS: Final = {  # best first
    "avx512": ("-march=x86-64-v4", "-mavx512vnni", "-mprefer-vector-width=256"),
    "avx2": ("-march=x86-64-v3",),
}
_FLAGS: Final = (
    *("-O3", "-std=c++17", "-fopenmp", "-fPIC", "-shared", "-fvisibility=hidden"),
    *("-Wall", "-Wextra"),
)


class BuildError(RuntimeError):
    """A library could not be compiled; the text says what to do."""


def library_name(variant: str) -> str:
    """Return the file name of the library of these sources."""
    digest = hashlib.sha256(" ".join((*_FLAGS, *VARIANTS[variant])).encode())
    for path in (*_files("*.cpp"), *_files("*.h")):
        digest.update(path.name.encode() + path.read_bytes())
    return f"libkimi_kernels-{variant}-{digest.hexdigest()[:12]}.so"


def compile_library(folder: Path, variant: str) -> Path:
    """Compile into a folder, which is made, and return the library's path.

    The compiler is CXX, else g++, else clang++. Takes some seconds. Raises BuildError.
    """
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise BuildError("no C++ compiler: install g++, or name one in CXX")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / library_name(variant)
    part = target.with_suffix(f".{os.getpid()}")
    options = [*_FLAGS, *VARIANTS[variant], "-o", str(part)]
    command = [*compiler.split(), *options, *map(str, _files("*.cpp"))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"{compiler}: {error}") from error
    if done.returncode:
        raise BuildError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    part.replace(target)  # another process may be compiling the same
    return target


def _files(pattern: str) -> list[Path]:
    return sorted(FOLDER.glob(pattern))
