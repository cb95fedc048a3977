"""What was found behind prompts, or that nothing was, kept in memory until it changes."""

import threading
from typing import Final

from .ledger import Candidates, Place

_PLACE_BYTES: Final = 500


class FoundTurns:
    """Bounded, the longest held out first; thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        """Hold at most `max_bytes`."""
        if max_bytes < 0:
            raise ValueError(f"max_cached_bytes: want 0 or more, got {max_bytes}")
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._lock = threading.Lock()
        self._places: dict[Place, Candidates | None] = {}

    def get(self, place: Place) -> Candidates | None:
        """Return what was found, None where nothing was; KeyError where nothing is known."""
        return self._places[place]

    def put(self, place: Place, candidates: Candidates | None) -> None:
        """Hold what was found."""
        with self._lock:
            self._remove(place)
            self._places[place] = candidates
            self.num_bytes += _size(candidates)
            while self.num_bytes > self.max_bytes:
                self._remove(next(iter(self._places)))

    def drop(self, place: Place) -> None:
        """Forget one place."""
        with self._lock:
            self._remove(place)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._places.clear()
            self.num_bytes = 0

    def _remove(self, place: Place) -> None:
        if place in self._places:
            self.num_bytes -= _size(self._places.pop(place))


def _size(candidates: Candidates | None) -> int:
    held = () if candidates is None else candidates.entries
    return _PLACE_BYTES + sum(entry.num_bytes for entry in held)
