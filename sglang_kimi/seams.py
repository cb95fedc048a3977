"""Every SGLang internal that this package touches, in one place, each with what we rely on.

SGLang 0.5.23 was read for all of them. On an upgrade `tests/plugin/test_seams.py` checks each one
and names what moved; at run time `hook` and `require` check the same before anything is patched, so
a host that changed stops the start instead of serving with half of our code.
"""

import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

HookKind = Literal["before", "after", "around", "replace"]


class SeamError(RuntimeError):
    """SGLang no longer looks as we need it: read the named module of ours, then adapt it."""


@dataclass(frozen=True)
class Seam:
    """One SGLang internal.

    target:      dotted path as `pkgutil.resolve_name` takes it.
    parameters:  leading parameter names of the callable, empty for data and classes.
    used_by:     our module that depends on it, the place to adapt.
    why:         what we do there and why no official way exists.
    """

    target: str
    parameters: tuple[str, ...]
    used_by: str
    why: str


def resolve(seam: Seam) -> Any:
    """Return the object behind a seam; SeamError if it is gone or has other parameters."""
    try:
        found = pkgutil.resolve_name(seam.target)
    except (ImportError, AttributeError, ValueError) as error:
        raise SeamError(
            f"SGLang changed {seam.target} ({error}), see {seam.used_by}: {seam.why}"
        ) from error
    if seam.parameters:
        names = tuple(inspect.signature(inspect.unwrap(found)).parameters)
        if names[: len(seam.parameters)] != seam.parameters:
            raise SeamError(
                f"SGLang changed {seam.target}: it takes {names}, we rely on {seam.parameters}, "
                f"see {seam.used_by}: {seam.why}"
            )
    return found


def require(name: str) -> Any:
    """Return the checked object of the seam `name` (a key of SEAMS)."""
    return resolve(SEAMS[name])


def hook(name: str, function: Callable[..., Any], kind: HookKind) -> None:
    """Register `function` on the seam `name` through SGLang's hook registry, checked first."""
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    resolve(SEAMS[name])
    HookRegistry.register(SEAMS[name].target, function, HookType(kind))


_CPU = "sglang_kimi/cpu"
_MODEL = "sglang_kimi/models"

CPU_SEAMS = {
    "mla_forward_method": Seam(
        "sglang.srt.models.deepseek_common.attention_backend_handler.AttentionBackendRegistry.register",
        ("backend_name", "handler_func"),
        f"{_CPU}/attention.py",
        "the absorbed MLA form is chosen per attention backend name; ours must be named there",
    ),
    "attention_backends_table": Seam(
        "sglang.srt.layers.attention.attention_registry.ATTENTION_BACKENDS",
        (),
        f"{_CPU}/attention.py",
        "the name torch_native switches graphs off in many places; ours stands behind it",
    ),
}

MODEL_SEAMS = {
    "model_registry_instance": Seam(
        "sglang.srt.models.registry.ModelRegistry",
        (),
        "sglang_kimi/register_model.py",
        "our class replaces the in-tree one of the same architecture name",
    ),
    "config_registry": Seam(
        "sglang.srt.utils.hf_transformers.common._CONFIG_REGISTRY",
        (),
        "sglang_kimi/register_model.py",
        "SGLang parses config.json again through its own table; AutoConfig alone does not win",
    ),
    "attention": Seam(
        "sglang.srt.models.deepseek_v2.DeepseekV2AttentionMLA.__init__",
        ("self", "config", "hidden_size", "num_heads", "qk_nope_head_dim", "qk_rope_head_dim"),
        f"{_MODEL}/kimi_k27.py",
        "MLA with SGLang's attention backends is a part of our decoder layer",
    ),
    "mlp": Seam(
        "sglang.srt.models.deepseek_v2.DeepseekV2MLP.__init__",
        ("self", "hidden_size", "intermediate_size", "hidden_act"),
        f"{_MODEL}/kimi_k27.py",
        "dense and shared-expert MLPs are SGLang's parallel ones",
    ),
    "stages": Seam(
        "sglang.srt.layers.layer_boundary.append_stages",
        ("stages",),
        f"{_MODEL}/kimi_k27.py",
        "residuals, norms and all traffic between ranks are declared as stages",
    ),
    "launch": Seam(
        "sglang.srt.entrypoints.engine.Engine._launch_subprocesses",
        ("server_args", "init_tokenizer_manager_func"),
        "sglang_kimi/register_model.py",
        "a broken checkpoint is refused before any process starts, in one line",
    ),
}

SEAMS: dict[str, Seam] = {**CPU_SEAMS, **MODEL_SEAMS}
