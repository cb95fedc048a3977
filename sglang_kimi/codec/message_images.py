"""What stands for a message where it is compared with the one of the last request.

Comparing an image is cheaper than reading the message, and almost all messages of a request are
those of the last one. An image is made of texts, None, tuples, lists and dictionaries. A message
that is a dictionary is its own image, if it holds nothing else.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, overload

from .turns import Turn

_CONTAINER_BYTES: Final = 350
_MAX_DEPTH: Final = 6
_USUAL_KEYS: Final = frozenset(
    (
        *("role", "name", "content", "reasoning", "reasoning_content", "tool_call_id"),
        *("tool_calls", "id", "type", "function", "arguments", "text"),
    )
)


class ImagedMessages(Sequence[Mapping[str, Any]]):
    """Messages that are read only where they are new: `images` tell which those are.

    Equal images must mean messages that give equal turns.
    """

    def __init__(self, images: Sequence[Any], read: Callable[[int], Mapping[str, Any]]) -> None:
        """Stand for as many messages as there are images; `read` gives one by its index."""
        self.images = images
        self._read = read

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Mapping[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> Mapping[str, Any] | list[Mapping[str, Any]]:
        if isinstance(index, slice):
            return [self._read(i) for i in range(*index.indices(len(self)))]
        return self._read(range(len(self))[index])


def kept_image(image: Any, turn: Turn) -> tuple[Any, int] | None:
    """Return an image to keep, a copy, and the bytes that it takes beside the texts of its turn.

    None for one that holds anything but texts and containers, or is nested deeply: a number may
    equal another value that means something else.
    """
    copier = _Copier(turn)
    try:
        return copier.copied(image, _MAX_DEPTH), copier.num_bytes
    except _NotPlainError:
        return None


class _NotPlainError(Exception):
    """An image holds something else than texts."""


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
        if kind is tuple:
            return tuple(self.copied(item, depth - 1) for item in value)
        if kind is list:
            return [self.copied(item, depth - 1) for item in value]
        if kind is dict:
            return {self._key(k, item): self.copied(item, depth - 1) for k, item in value.items()}
        raise _NotPlainError

    def _key(self, key: Any, item: Any) -> str:
        # Of arguments that are an object, the order of the keys counts: comparing does not see it.
        if type(key) is not str or (key == "arguments" and type(item) is not str):
            raise _NotPlainError
        if key not in _USUAL_KEYS:
            self.num_bytes += sys.getsizeof(key)
        return sys.intern(key)
