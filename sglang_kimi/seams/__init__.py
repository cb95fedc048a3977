"""Every SGLang internal that this package touches, in one place, each with what we rely on.

SGLang 0.5.23 was read for all of them. On an upgrade `tests/plugin/test_seams.py` checks each one
and names what moved; at run time `hook` and `require` check the same before anything is patched, so
a host that changed stops the start instead of serving with half of our code.
"""

import pkgutil
from collections.abc import Callable
from typing import Any, Literal

from .chat_answers import ANSWER_SEAMS
from .chat_requests import REQUEST_SEAMS
from .chat_serving import SERVING_SEAMS
from .cpu import CPU_SEAMS
from .gpu import GPU_SEAMS
from .model import BENCH_SEAMS, MODEL_SEAMS, SCRIPT_SEAMS
from .moe import DEEPEP_SEAMS, MARLIN_SEAMS, MOE_SEAMS
from .seam import Seam, SeamError, resolve

__all__ = ["CPU_SEAMS", "SEAMS", "Seam", "SeamError", "hook", "require", "resolve", "substitute"]

HookKind = Literal["before", "after", "around", "replace"]

SEAMS: dict[str, Seam] = {
    **CPU_SEAMS,
    **GPU_SEAMS,
    **MODEL_SEAMS,
    **BENCH_SEAMS,
    **SCRIPT_SEAMS,
    **MOE_SEAMS,
    **MARLIN_SEAMS,
    **DEEPEP_SEAMS,
    **REQUEST_SEAMS,
    **ANSWER_SEAMS,
    **SERVING_SEAMS,
}


def require(name: str) -> Any:
    """Return the checked object of the seam `name` (a key of SEAMS)."""
    return resolve(SEAMS[name])


def hook(name: str, function: Callable[..., Any], kind: HookKind) -> None:
    """Register `function` on the seam `name` through SGLang's hook registry, checked first."""
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    resolve(SEAMS[name])
    HookRegistry.register(SEAMS[name].target, function, HookType(kind))


def substitute(name: str, value: Any) -> None:
    """Put `value` in the place of the seam `name`, checked first; for what is looked up late."""
    resolve(SEAMS[name])
    owner, _, attribute = SEAMS[name].target.rpartition(".")
    setattr(pkgutil.resolve_name(owner), attribute, value)
