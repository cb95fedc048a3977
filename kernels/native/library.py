"""The compiled kernels of this machine, or the reason why there are none.

Looked for beside the sources (a wheel brings it), then in the user's cache, else compiled there.
`SGLANG_KIMI_CPU_KERNELS` decides: `auto` (the default) falls back to plain torch with a warning,
`native` makes a missing library an error, `torch` never looks for it.
"""

import ctypes
import logging
import os
import platform
from functools import cache
from pathlib import Path
from typing import Final

from .build import FOLDER, BuildError, compile_library, library_name

logger = logging.getLogger(__name__)

VARIABLE: Final = "SGLANG_KIMI_CPU_KERNELS"
CHOICES: Final = ("auto", "native", "torch")
_NEEDED_FLAGS: Final = frozenset(("avx2", "fma", "f16c", "bmi2"))

_POINTER, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_float
_LONG: Final = ctypes.c_int64
_SIGNATURES: Final = {
    "kimi_bf16_linear": [
        *(_POINTER, _LONG, _LONG, _POINTER, _POINTER, _LONG, _LONG),
        *[_INT] * 5,
    ],
    "kimi_moe_int4": [*[_POINTER] * 3, *[_INT] * 5, *[_POINTER] * 5, _INT],
    "kimi_mla_absorbed": [
        *(_POINTER, _POINTER, _INT, _LONG, _POINTER, _INT, _LONG, *[_POINTER] * 3),
        *(*[_INT] * 4, _FLOAT, _POINTER, _INT),
    ],
    "kimi_mla_expanded": [
        *(*(_POINTER, _LONG, _LONG) * 3, _POINTER, _POINTER, *[_INT] * 4, _FLOAT, _POINTER, _INT),
    ],
}
_WITH_STATUS: Final = frozenset(("kimi_mla_absorbed",))  # these return 0 where all went well


@cache
def native_library() -> ctypes.CDLL | None:
    """Return the library, None where plain torch does the work; chosen once, said in the log.

    Raises ValueError for a wrong value of the variable, RuntimeError where `native` can't be.
    """
    choice = os.environ.get(VARIABLE, "auto")
    if choice not in CHOICES:
        raise ValueError(f"{VARIABLE}: got {choice!r}, want one of {', '.join(CHOICES)}")
    if choice == "torch":
        logger.info("CPU kernels: plain torch, as %s says", VARIABLE)
        return None
    try:
        path = _find_or_compile()
        library = _load(path)
    except (BuildError, OSError) as error:
        if choice == "native":
            raise RuntimeError(f"{VARIABLE}=native: {error}") from error
        logger.warning("CPU kernels: plain torch, many times slower; %s", error)
        return None
    logger.info("CPU kernels: %s", path)
    return library


def _find_or_compile() -> Path:
    _check_cpu()
    name = library_name()
    cached = _cache_folder()
    for folder in (FOLDER, cached):
        if (folder / name).is_file():
            return folder / name
    logger.info("CPU kernels: compiling (once, some seconds)")
    return compile_library(cached)


def _check_cpu() -> None:
    missing = _NEEDED_FLAGS - _cpu_flags()
    if platform.machine() != "x86_64" or missing:
        raise BuildError(f"this CPU ({platform.machine()}) lacks {', '.join(sorted(missing))}")


def _cpu_flags() -> set[str]:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "sglang-kimi" / "kernels"


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    for name, arguments in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes = arguments
        function.restype = _INT if name in _WITH_STATUS else None
    return library
