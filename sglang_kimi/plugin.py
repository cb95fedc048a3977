"""Entry points that SGLang calls in every process: thin, and cheap to import."""


def platform() -> str | None:
    """Return the qualified name of our CPU platform, or None where a GPU platform is active."""
    return None


def register_cpu() -> None:
    """Register what the CPU needs (entry point `kimi_cpu`)."""


def register_model() -> None:
    """Register config, tokenizer and model (entry point `kimi_model`)."""


def register_chat() -> None:
    """Register codec, parsers and grammars (entry point `kimi_chat`)."""
