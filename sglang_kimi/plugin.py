"""Entry points that SGLang calls in every process: thin, and cheap to import.

SGLang only logs a plugin that fails and then serves with its own Kimi code; ours stops the start
instead (SystemExit is not caught there), so nobody serves half of this package unknowingly.
"""

from collections.abc import Callable


def platform() -> str | None:
    """Return the qualified name of our CPU platform, or None where a GPU platform is active."""
    from .cpu.register import choose_platform

    return choose_platform()


def register_cpu() -> None:
    """Register what the CPU needs (entry point `kimi_cpu`)."""
    from .cpu.register import register

    _register_or_stop("kimi_cpu", register)


def register_gpu() -> None:
    """Register what runs on NVIDIA GPUs when asked for (entry point `kimi_gpu`)."""
    from .gpu.register import register

    _register_or_stop("kimi_gpu", register)


def register_model() -> None:
    """Register config, tokenizer and model (entry point `kimi_model`)."""
    from .register_model import register

    _register_or_stop("kimi_model", register)


def register_chat() -> None:
    """Register codec, parsers and grammars (entry point `kimi_chat`)."""
    from .chat.register import register

    _register_or_stop("kimi_chat", register)


def _register_or_stop(name: str, register: Callable[[], None]) -> None:
    try:
        register()
    except Exception as error:
        raise SystemExit(
            f"sglang-kimi: plugin {name} cannot be used with this SGLang: {error}\n"
            "Install the SGLang release that this package pins, or name the plugins to load in "
            "SGLANG_PLUGINS without the kimi_* ones."
        ) from error
