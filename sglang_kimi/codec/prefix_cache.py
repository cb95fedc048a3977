"""A bounded table of encoded prefixes: what was encoded once behind a prefix is not encoded again.

Values hang on their prefix by a number in their key, so that conversations share what they have in
common. Knows nothing of messages; `conversation` decides what the keys are.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Final, Protocol, TypeVar

_ITEM_BYTES: Final = 200
"""A place in the table, beside key and value."""


class Sized(Protocol):
    """A value that says how much memory it and its key take."""

    @property
    def num_bytes(self) -> int:
        """Return the memory in bytes."""


T = TypeVar("T", bound=Sized)


class PrefixCache:
    """Least recently used out first; thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        """Hold at most `max_bytes`."""
        if max_bytes < 0:
            raise ValueError(f"max_cache_bytes: want 0 or more, got {max_bytes}")
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._lock = threading.Lock()
        self._items: OrderedDict[Hashable, Sized] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._items)

    def get(self, kind: type[T], key: Hashable) -> T | None:
        """Return a value, without counting that as use; `kind` is what such a key has."""
        held = self._items.get(key)
        assert held is None or isinstance(held, kind)
        return held

    def add(self, key: Hashable, value: T) -> T:
        """Hold a value and return it, or the one that another thread has put there before."""
        with self._lock:
            held = self._items.setdefault(key, value)
            if held is value:
                self.num_bytes += _ITEM_BYTES + value.num_bytes
                while self.num_bytes > self.max_bytes:
                    _, dropped = self._items.popitem(last=False)
                    self.num_bytes -= _ITEM_BYTES + dropped.num_bytes
        assert isinstance(held, type(value))
        return held

    def use(self, keys: Sequence[Hashable]) -> None:
        """Note the use of a prefix, given from its beginning on.

        The beginning counts as used last: without it the rest could not be found.
        """
        with self._lock:
            move = self._items.move_to_end
            for key in reversed(keys):
                try:
                    move(key)
                except KeyError:  # put out meanwhile
                    continue
