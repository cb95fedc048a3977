"""Compiled grammars by content: the least recently used go first, bounded in bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, Protocol, TypeVar


class Sized(Protocol):
    """What is kept."""

    @property
    def num_bytes(self) -> int:
        """Return an estimate of the memory it takes, which may grow with use."""


Kept = TypeVar("Kept", bound=Sized)


class CacheUse(NamedTuple):
    """How a cache does: sizes now, counts since the start. limit: bytes."""

    num_grammars: int
    num_bytes: int
    limit: int
    num_hits: int
    num_misses: int
    num_evictions: int


class GrammarCache(Generic[Kept]):
    """Keeps at most `limit` bytes, but always the last one. Safe to use from several threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._num_hits = self._num_misses = self._num_evictions = 0

    @property
    def use(self) -> CacheUse:
        """Return sizes and counts."""
        with self._lock:
            return CacheUse(
                num_grammars=len(self._kept),
                num_bytes=self._num_bytes(),
                limit=self._limit,
                num_hits=self._num_hits,
                num_misses=self._num_misses,
                num_evictions=self._num_evictions,
            )

    def get(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """Return what is kept under a key, made now if it isn't; `make` runs without the lock."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                self._num_hits += 1
                return kept
            self._num_misses += 1
        made = make()
        with self._lock:
            self._kept[key] = made
            self._evict()
        return made

    def _evict(self) -> None:
        num_bytes = self._num_bytes()
        while num_bytes > self._limit and len(self._kept) > 1:
            _, evicted = self._kept.popitem(last=False)
            num_bytes -= evicted.num_bytes
            self._num_evictions += 1

    def _num_bytes(self) -> int:
        return sum(kept.num_bytes for kept in self._kept.values())
