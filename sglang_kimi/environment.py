"""Every environment variable that an operator sets for this package: name, meaning, default.

Read when a server starts, never at import. A wrong value is a ValueError that names the variable.
"""

import os
from pathlib import Path
from typing import Final

LEDGER_BYTES: Final = "SGLANG_KIMI_LEDGER_BYTES"
"""How many bytes of generated turns each HTTP process remembers (whole number; 0: none)."""

LEDGER_PATH: Final = "SGLANG_KIMI_LEDGER_PATH"
"""The file that holds them instead, for all processes of the host that name it; unset: none."""

LEDGER_MAX_AGE_S: Final = "SGLANG_KIMI_LEDGER_MAX_AGE_S"
"""After how many seconds without use a turn goes from that file (whole number)."""

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


def _whole_number(name: str, default: int, want: str) -> int:
    text = os.environ.get(name)
    if text is None or not text.strip():
        return default
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise ValueError(f"{name}: want a whole number {want}, got {text!r}")
    return int(text)
