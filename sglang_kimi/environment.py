"""Every environment variable that an operator sets for this package: name, meaning, default.

Read when a server starts, never at import. A wrong value is a ValueError that names the variable.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, get_args

ToolGrammar = Literal["auto", "forced-only", "off"]
"""Which tool calls are held to their schema: all, those of a forced tool choice, or none."""

LEDGER_BYTES: Final = "SGLANG_KIMI_LEDGER_BYTES"
"""How many bytes of generated turns each HTTP process remembers (whole number; 0: none)."""

LEDGER_PATH: Final = "SGLANG_KIMI_LEDGER_PATH"
"""The file that holds them instead, for all processes of the host that name it; unset: none."""

LEDGER_MAX_AGE_S: Final = "SGLANG_KIMI_LEDGER_MAX_AGE_S"
"""After how many seconds without use a turn goes from that file (whole number)."""

TOOL_GRAMMAR: Final = "SGLANG_KIMI_TOOL_GRAMMAR"
"""Which tool calls are held to their schema, where a request does not say (`ToolGrammar`)."""

MAX_THINKING_TOKENS: Final = "SGLANG_KIMI_MAX_THINKING_TOKENS"
"""How many tokens an answer may think, where a request does not say; unset: no limit."""

REASONING_EFFORT: Final = "SGLANG_KIMI_REASONING_EFFORT"
"""What an effort limits the thinking to, as `low=1024,medium=8192`; unset: nothing."""

CPU_EXPERT_LAYERS: Final = "SGLANG_KIMI_CPU_EXPERT_LAYERS"
"""Layers whose routed experts stay on the CPU beside a GPU, as `3-60` or `1,5,30-60`."""

TOOL_GRAMMARS: Final[tuple[str, ...]] = get_args(ToolGrammar)

_DEFAULT_LEDGER_BYTES: Final = 256 * 1024 * 1024
_DEFAULT_LEDGER_MAX_AGE_S: Final = 7 * 24 * 3600


def ledger_bytes() -> int:
    """Return the ledger's limit in bytes; ValueError if the variable is no whole number >= 0."""
    return _whole_number(LEDGER_BYTES, _DEFAULT_LEDGER_BYTES, "of bytes, 0 for no ledger")


def ledger_max_age_s() -> int:
    """Return the age limit in seconds; ValueError if the variable is no whole number > 0."""
    want = "of seconds, more than 0"
    age_s = _whole_number(LEDGER_MAX_AGE_S, _DEFAULT_LEDGER_MAX_AGE_S, want)
    if age_s == 0:
        raise ValueError(f"{LEDGER_MAX_AGE_S}: want a whole number {want}, got '0'")
    return age_s


def ledger_path() -> Path | None:
    """Return the ledger's file, None where it is kept in memory."""
    text = os.environ.get(LEDGER_PATH)
    return Path(text) if text else None


def tool_grammar() -> str:
    """Return which tool calls are held (`ToolGrammar`); ValueError for another word."""
    text = os.environ.get(TOOL_GRAMMAR, "").strip() or TOOL_GRAMMARS[0]
    if text not in TOOL_GRAMMARS:
        raise ValueError(f"{TOOL_GRAMMAR}: want one of {', '.join(TOOL_GRAMMARS)}, got {text!r}")
    return text


def max_thinking_tokens() -> int | None:
    """Return the default limit of the thinking in tokens, None without one; ValueError."""
    number = _whole_number(MAX_THINKING_TOKENS, -1, "of tokens")
    return None if number < 0 else number


def reasoning_efforts() -> Mapping[str, int]:
    """Return the limit of the thinking in tokens by effort; ValueError if it is no such list."""
    text = os.environ.get(REASONING_EFFORT, "").strip()
    efforts: dict[str, int] = {}
    for entry in text.split(",") if text else ():
        name, _, number = (part.strip() for part in entry.partition("="))
        if not (name and number.isascii() and number.isdigit()):
            want = "efforts and whole numbers of tokens, such as low=1024,medium=8192"
            raise ValueError(f"{REASONING_EFFORT}: want {want}, got {text!r}")
        efforts[name] = int(number)
    return efforts


def cpu_expert_layers() -> frozenset[int]:
    """Return the layers whose experts stay on the CPU; ValueError if it is no list of ranges."""
    text = os.environ.get(CPU_EXPERT_LAYERS, "").strip()
    layers: set[int] = set()
    for entry in text.split(",") if text else ():
        first, dash, last = (part.strip() for part in entry.partition("-"))
        bounds = (first, last if dash else first)
        if not all(bound.isascii() and bound.isdigit() and len(bound) < 5 for bound in bounds):
            raise ValueError(
                f"{CPU_EXPERT_LAYERS}: want layers and ranges of them, such as 1,5,30-60, "
                f"got {text!r}"
            )
        if int(bounds[0]) > int(bounds[1]):
            raise ValueError(f"{CPU_EXPERT_LAYERS}: {entry.strip()} ends before it begins")
        layers.update(range(int(bounds[0]), int(bounds[1]) + 1))
    return frozenset(layers)


def _whole_number(name: str, default: int, want: str) -> int:
    text = os.environ.get(name)
    if text is None or not text.strip():
        return default
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise ValueError(f"{name}: want a whole number {want}, got {text!r}")
    return int(text)
