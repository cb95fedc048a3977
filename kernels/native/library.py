"""The compiled kernels of this machine, or the reason why there are none.

Looked for beside the sources (a wheel brings them), then in the user's cache, else compiled there;
checked against plain torch before use. `SGLANG_KIMI_CPU_KERNELS` decides: `auto` (the default)
takes AVX-512 with VNNI, else AVX2, else plain torch with a warning; `native` makes that last step
an error; `avx512` and `avx2` allow nothing else; `torch` never looks for a library.
"""

import ctypes
import logging
import os
import platform
from functools import cache
from pathlib import Path
from typing import Final

from .build import FOLDER, VARIANTS, BuildError, compile_library, library_name

logger = logging.getLogger(__name__)

VARIABLE: Final = "SGLANG_KIMI_CPU_KERNELS"
CHOICES: Final = ("auto", *VARIANTS, "native", "torch")
_AVX2_FLAGS: Final = frozenset(("avx2", "fma", "f16c", "bmi2"))
_NEEDED_FLAGS: Final = {
    "avx2": _AVX2_FLAGS,
    "avx512": _AVX2_FLAGS
    | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni"},
}

_POINTER, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_float
_LONG: Final = ctypes.c_int64
_SIGNATURES: Final = {
    "kimi_bf16_linear": [
        *(_POINTER, _LONG, _LONG, _POINTER, _POINTER, _LONG, _LONG),
        *[_INT] * 5,
    ],
    "kimi_moe_int4": [*[_POINTER] * 3, *[_INT] * 5, *[_POINTER] * 7, _INT],
    "kimi_route_sigmoid": [*(_POINTER, _POINTER), *[_INT] * 4, *(_POINTER, _POINTER, _INT)],
    "kimi_rms_norm": [
        *(_POINTER, _LONG, *[_POINTER] * 4, _INT, _INT, _FLOAT, _INT),
    ],
    "kimi_mla_absorbed": [
        *(_POINTER, _POINTER, _INT, _LONG, _POINTER, _INT, _LONG, *[_POINTER] * 3),
        *(*[_INT] * 4, _FLOAT, _POINTER, _INT),
    ],
    "kimi_mla_layer": [*[_POINTER] * 4, _INT, _LONG, _POINTER, _INT],
    "kimi_decoder_layer": [*[_POINTER] * 3, _INT, _LONG, _POINTER, _POINTER, _INT],
    "kimi_bf16_mlp": [_POINTER, _LONG, *[_POINTER] * 3, *[_INT] * 4],
    "kimi_mla_expanded": [
        *(*(_POINTER, _LONG, _LONG) * 3, _POINTER, _POINTER, *[_INT] * 4, _FLOAT, _POINTER, _INT),
    ],
}
_WITH_STATUS: Final = frozenset(  # these return an int
    ("kimi_moe_int4", "kimi_mla_absorbed", "kimi_mla_layer", "kimi_decoder_layer")
)


class CheckError(RuntimeError):
    """A compiled library computes something else than torch."""


@cache
def native_library() -> ctypes.CDLL | None:
    """Return the library, None where plain torch does the work; chosen once, said in the log.

    Raises ValueError for a wrong value of the variable, RuntimeError where what it asks for can't
    be.
    """
    choice = os.environ.get(VARIABLE, "auto")
    if choice not in CHOICES:
        raise ValueError(f"{VARIABLE}: got {choice!r}, want one of {', '.join(CHOICES)}")
    if choice == "torch":
        logger.info("CPU kernels: plain torch, as %s says", VARIABLE)
        return None
    reasons = []
    for variant in [choice] if choice in VARIANTS else VARIANTS:
        if missing := _missing_instructions(variant):
            reasons.append(f"{variant}: {missing}")
            continue
        try:
            library = _checked(_find_or_compile(variant))
        except (BuildError, CheckError, OSError) as error:
            logger.warning("CPU kernels: no %s, which this CPU could run; %s", variant, error)
            reasons.append(f"{variant}: {error}")
            continue
        why = f"{VARIABLE}={choice}; " + ("; ".join(reasons) or "the first choice")
        logger.info("CPU kernels: %s (%s)", library._name, why)
        return library
    if choice != "auto":
        raise RuntimeError(f"{VARIABLE}={choice}: {'; '.join(reasons)}")
    logger.warning("CPU kernels: plain torch, many times slower; %s", "; ".join(reasons))
    return None


def _missing_instructions(variant: str) -> str:
    """Say what this CPU lacks, empty where it lacks nothing."""
    missing = _NEEDED_FLAGS[variant] - _cpu_flags()
    if platform.machine() == "x86_64" and not missing:
        return ""
    return f"this CPU ({platform.machine()}) lacks {', '.join(sorted(missing))}"


def _cpu_flags() -> set[str]:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def _find_or_compile(variant: str) -> Path:
    name = library_name(variant)
    cached = _cache_folder()
    for folder in (FOLDER, cached):
        if (folder / name).is_file():
            return folder / name
    logger.info("CPU kernels: compiling %s (once, some seconds)", variant)
    return compile_library(cached, variant)


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "sglang-kimi" / "kernels"


def _checked(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    for name, arguments in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes = arguments
        function.restype = _INT if name in _WITH_STATUS else None
    from .self_check import check_library  # it imports kernels, which import this file

    check_library(library)
    return library
