"""Every environment variable that an operator sets for this package: name, meaning, default.

Read when a server starts, never at import. A wrong value is a ValueError that names the variable.
"""

import os
from typing import Final

LEDGER_BYTES: Final = "SGLANG_KIMI_LEDGER_BYTES"
"""How many bytes of generated turns each HTTP process remembers (whole number; 0: none)."""

_DEFAULT_LEDGER_BYTES: Final = 256 * 1024 * 1024


def ledger_bytes() -> int:
    """Return the ledger's limit in bytes; ValueError if the variable is no whole number >= 0."""
    text = os.environ.get(LEDGER_BYTES)
    if text is None or not text.strip():
        return _DEFAULT_LEDGER_BYTES
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise ValueError(
            f"{LEDGER_BYTES}: want a whole number of bytes, 0 for no ledger, got {text!r}"
        )
    return int(text)
