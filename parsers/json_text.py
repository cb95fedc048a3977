"""How far a JSON value has come, told from its text piece by piece; nothing is read twice.

This is a scanner of strings and brackets, not a validator: it knows whether a string is open and
whether the value has been closed.
"""

import json
import re
from typing import Any, Final

_BRACKET_OR_QUOTE: Final = re.compile(r'["{}\[\]]')
_QUOTE_OR_ESCAPE: Final = re.compile(r'["\\]')
_OPENERS: Final = frozenset('{["')


class JsonScanner:
    """Follow one JSON object, array or string; text of any other beginning has no open strings."""

    def __init__(self) -> None:
        """Start before the first character."""
        self.first = ""  # the first character that is no blank
        self.in_string = False
        self.is_closed = False  # the value has ended; what follows is outside it
        self.has_tail = False  # text that is no blank came after the end
        self._depth = 0
        self._escaped = False

    @property
    def is_object(self) -> bool:
        """Tell whether the text so far is exactly one balanced object, blanks around it aside."""
        return self.first == "{" and self.is_closed and not self.has_tail

    def feed(self, text: str) -> None:
        """Read on over `text`."""
        position = 0
        if not self.first:
            begun = text.lstrip()
            if not begun:
                return
            self.first = begun[0]
            position = len(text) - len(begun)
        if self.first not in _OPENERS:
            return
        while position < len(text):
            if self.is_closed:
                self.has_tail = self.has_tail or not text[position:].isspace()
                return
            position = self._step(text, position)

    def _step(self, text: str, position: int) -> int:
        if self._escaped:
            self._escaped = False
            return position + 1
        pattern = _QUOTE_OR_ESCAPE if self.in_string else _BRACKET_OR_QUOTE
        found = pattern.search(text, position)
        if found is None:
            return len(text)
        match found[0]:
            case "\\":
                self._escaped = True
            case '"':
                self.in_string = not self.in_string
            case "{" | "[":
                self._depth += 1
            case _:
                self._depth -= 1
        self.is_closed = self._depth <= 0 and not self.in_string
        return found.end()


def load_json(text: str) -> Any:
    """Read JSON; None (as for null) where it is invalid or nested too deep to read.

    Numbers stay strings: only the shape is of interest, and Python refuses very long integers.
    """
    try:
        return json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None


def unwrap_object(text: str) -> str | None:
    """Return the object's text where `text` is one JSON string that holds one, else None."""
    inner = load_json(text)
    if not isinstance(inner, str) or not isinstance(load_json(inner), dict):
        return None
    try:
        inner.encode()
    except UnicodeEncodeError:  # an escaped half of a surrogate pair: no valid text to pass on
        return None
    return inner.strip()
