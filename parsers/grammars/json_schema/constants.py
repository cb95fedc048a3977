"""JSON values as texts that are equal exactly where JSON Schema calls the values equal."""

import json
from typing import Any

_EXACT_FLOAT = 10**15


def canonical(value: Any) -> str:
    """Return the one text of a value: keys sorted, compact, `1.0` as `1`, ASCII only."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _EXACT_FLOAT:
        return _large(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_FLOAT:
        return int(value)
    return value


def _large(value: int) -> int | float:
    try:
        return float(value) if float(value) == value else value
    except OverflowError:
        return value


def kind_of(text: str) -> str:
    """Return the kind (see `nodes.KINDS`) of a canonical text."""
    if text[0] in '"[{':
        return {'"': "string", "[": "array", "{": "object"}[text[0]]
    if text in ("null", "true", "false"):
        return text
    value = json.loads(text)
    return "integer" if isinstance(value, int) or value.is_integer() else "fraction"
