"""What the entry point `kimi_gpu` does: the attention backend `kimi_mla`, taken when asked for."""

from __future__ import annotations

import multiprocessing
from typing import Any

from ..seams import hook, require

BACKEND = "kimi_mla"
_FIELDS = ("attention_backend", "prefill_attention_backend", "decode_attention_backend")


def register() -> None:
    """Add the name to the command line and to SGLang's table; nothing is chosen by it."""
    require("attention_backend_choices")([BACKEND])
    require("register_attention_backend")(BACKEND)(_create)
    if multiprocessing.parent_process() is None:
        hook("launch", refuse_without_cuda, "before")


def _create(runner: Any) -> Any:
    from .attention import create_mla_backend

    return create_mla_backend(runner)


def refuse_without_cuda(*args: Any, **kwargs: Any) -> None:
    """Stop a server that asks for `kimi_mla` where no NVIDIA GPU is, before any process starts.

    Raises SystemExit with one line that names the flag.
    """
    from sglang.srt.platforms import current_platform

    server_args = kwargs.get("server_args") or args[1]
    asked = [name for name in _FIELDS if getattr(server_args, name, None) == BACKEND]
    if asked and not current_platform.is_cuda():
        raise SystemExit(
            f"sglang-kimi: --{asked[0].replace('_', '-')} {BACKEND}: needs an NVIDIA GPU, this is "
            f"{current_platform.device_name}; leave the flag out"
        )
