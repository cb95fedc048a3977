"""How far a JSON value has come, told from its text piece by piece; nothing is read twice.

This is a scanner of strings and brackets, not a validator: it knows whether a string is open and
whether the value has been closed.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

_BRACKET: Final = re.compile(r"[{}\[\]]")
_STRING_BODY: Final = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
_OPENERS: Final = frozenset('{["')


class JsonScanner:
    """Follow one JSON object, array or string; text of any other beginning has no open strings.

    feed: takes the next text. It is only kept until somebody asks how far the value has come, so
    that the many small pieces of a stream are read together.
    """

    def __init__(self) -> None:
        """Start before the first character."""
        self._unread: list[str] = []
        self.feed: Callable[[str], None] = self._unread.append
        self._first = ""
        self._in_string = False
        self._is_closed = False
        self._has_tail = False
        self._depth = 0
        self._is_escaped = False  # the text so far ends with a backslash that escapes

    @property
    def first(self) -> str:
        """Return the first character that is no blank, "" before it."""
        self._read_on()
        return self._first

    @property
    def in_string(self) -> bool:
        """Tell whether a string is open."""
        self._read_on()
        return self._in_string

    @property
    def is_object(self) -> bool:
        """Tell whether the text so far is exactly one balanced object, blanks around it aside."""
        self._read_on()
        return self._first == "{" and self._is_closed and not self._has_tail

    def _read_on(self) -> None:
        """Read what has come since the last time."""
        if not self._unread:
            return
        text = "".join(self._unread)
        self._unread.clear()
        if not self._first:
            text = text.lstrip()
            self._first = text[:1]
        if self._first not in _OPENERS:
            return
        position = 0
        while position < len(text) and not self._is_closed:
            position = (
                self._string(text, position) if self._in_string else self._gap(text, position)
            )
        self._has_tail = self._has_tail or bool(text[position:].strip())

    def _string(self, text: str, position: int) -> int:
        """Read a string's text up to its closing quote and return how far that came."""
        if self._is_escaped:
            self._is_escaped = False
            return position + 1
        found = _STRING_BODY.match(text, position)
        end = position if found is None else found.end()
        if end < len(text):  # at a quote, or at a backslash that is the last character
            self._is_escaped = text[end] == "\\"
            self._in_string = self._is_escaped
            self._is_closed = not self._in_string and self._depth == 0
        return end + 1

    def _gap(self, text: str, position: int) -> int:
        """Read what stands between strings up to the next quote, or to the end of the value."""
        quote = text.find('"', position)
        end = len(text) if quote < 0 else quote
        for bracket in _BRACKET.finditer(text, position, end):
            self._depth += 1 if bracket[0] in "{[" else -1
            if self._depth == 0:
                self._is_closed = True
                return bracket.end()
        self._in_string = quote >= 0
        return end + 1


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
