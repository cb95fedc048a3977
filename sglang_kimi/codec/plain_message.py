"""Messages that hold nothing but texts: two of them that are equal have equal turns.

Comparing such a message with the one of the last request is cheaper than reading it.
"""

import sys
from collections.abc import Mapping
from typing import Any, Final

from .turns import Turn

_CONTAINER_BYTES: Final = 350
_MAX_DEPTH: Final = 5  # message, calls, call, function, text
_KEYS: Final = frozenset(
    (
        *("role", "name", "content", "reasoning", "reasoning_content", "tool_call_id"),
        *("tool_calls", "id", "type", "function", "arguments", "text"),
    )
)


class _NotPlainError(Exception):
    """A message holds something else than texts."""


def plain_copy(message: Mapping[str, Any], turn: Turn) -> tuple[dict[str, Any], int] | None:
    """Return a copy to compare with and the bytes that it takes beside the texts of its turn.

    None for a message that holds anything but texts, lists and objects under the usual keys: a
    number may equal another value that means something else.
    """
    if type(message) is not dict:
        return None
    copier = _Copier(turn)
    try:
        return copier.copied(message, _MAX_DEPTH), copier.num_bytes
    except _NotPlainError:
        return None


class _Copier:
    def __init__(self, turn: Turn) -> None:
        self.num_bytes = 0
        self._shared = {id(text) for text in turn.texts}

    def copied(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str or value is None:
            if id(value) not in self._shared:
                self.num_bytes += sys.getsizeof(value)
            return value
        if not depth:
            raise _NotPlainError
        self.num_bytes += _CONTAINER_BYTES
        if kind is list:
            return [self.copied(item, depth - 1) for item in value]
        if kind is dict and value.keys() <= _KEYS:
            return {sys.intern(key): self.copied(item, depth - 1) for key, item in value.items()}
        raise _NotPlainError
