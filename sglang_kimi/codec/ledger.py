"""The turns that the model really generated, found again by the prompt that stood before them.

A turn is kept as its token ids under the tenant and a digest of its whole prompt, so it can only
come back behind exactly those ids. Knows ids alone: what a client made of a turn is for
`same_turn` to compare. One ledger serves all requests of a process; every method is thread-safe.
"""

import hashlib
import sys
import threading
from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

_ENTRY_BYTES: Final = 700
"""What an entry takes beside its ids and texts: objects, and places in tables."""

_MAX_CONTINUED: Final = 1024
"""How many prompts that end inside a turn are remembered until their answers come."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asks.

    tenant: binds; a turn recorded under one tenant is never found under another.
    hint:   names the conversation; it decides between several turns that match.
    is_hint_given: the client named the conversation, so a turn of one that it named otherwise is
            another's. A name that we made up ourselves excludes nothing.
    """

    tenant: str = ""
    hint: str | None = None
    is_hint_given: bool = True

    def excludes(self, entry: "LedgerEntry") -> bool:
        """Say whether a turn certainly belongs to another conversation."""
        both_given = self.is_hint_given and entry.is_hint_given
        return both_given and None not in (self.hint, entry.hint) and self.hint != entry.hint


@dataclass(frozen=True, slots=True, eq=False)
class LedgerEntry:
    """A generated turn: its ids as an array of "I", and the hint it was recorded with."""

    serial: int
    hint: str | None
    is_hint_given: bool
    token_ids: "array[int]"
    num_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The turns generated behind one prompt; a change of them gives a new object and version."""

    version: int
    entries: tuple[LedgerEntry, ...]


_Place = tuple[str, bytes]


class IdsDigest:
    """The digest of a prompt, carried on from segment to segment."""

    __slots__ = ("_state",)

    def __init__(self, state: Any = None) -> None:
        """Start before the first id."""
        self._state = hashlib.blake2b(digest_size=32) if state is None else state

    def add(self, token_ids: Sequence[int]) -> None:
        """Add the next ids; ValueError for one that is no unsigned 32-bit number."""
        self._state.update(_packed(token_ids, "prompt_ids"))

    def copy(self) -> "IdsDigest":
        """Return a digest that goes on from here by itself."""
        return IdsDigest(self._state.copy())

    def value(self) -> bytes:
        """Return the digest of the ids so far, 32 bytes."""
        digest: bytes = self._state.digest()
        return digest


def digest_of(prompt_ids: Sequence[int]) -> bytes:
    """Return the digest of a whole prompt; ValueError as `IdsDigest.add` raises it."""
    digest = IdsDigest()
    digest.add(prompt_ids)
    return digest.value()


class TurnLedger:
    """Generated turns of all conversations, least recently used out first.

    counters: "hits" and "misses" count assistant turns that were found or not, each once while the
    encoder remembers it; "ambiguous" those with several different matches, "evictions" the turns
    that the limit put out.
    """

    def __init__(self, max_bytes: int = 256 * 1024 * 1024) -> None:
        """Keep at most `max_bytes` of turns, their ids and what it takes to find them."""
        if max_bytes < 0:
            raise ValueError(f"max_bytes: want 0 or more, got {max_bytes}")
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self.counters: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._serials = count(1)
        self._places: dict[_Place, Candidates] = {}
        self._entries: OrderedDict[int, tuple[_Place, LedgerEntry]] = OrderedDict()
        self._continued: OrderedDict[_Place, tuple[bytes, int]] = OrderedDict()

    @property
    def num_entries(self) -> int:
        """Return the number of turns held."""
        return len(self._entries)

    def record(
        self,
        prompt_ids: Sequence[int],
        output_ids: Sequence[int],
        origin: Origin,
        *,
        prompt_digest: bytes | None = None,
    ) -> None:
        """Remember that `output_ids` were generated behind `prompt_ids`.

        prompt_ids:    the whole prompt, generation prompt included. Where it ends inside a turn, as
                       `expect_rest` said, that turn is remembered from its beginning.
        output_ids:    all ids generated so far, the stop token included if there is one. A longer
                       output that goes on from an earlier one of the same hint takes its place.
        prompt_digest: of `prompt_ids`, where it is known already (2.5 ms for 200,000 ids).

        Raises ValueError for ids that are no unsigned 32-bit numbers.
        """
        if not output_ids:
            return
        place = (origin.tenant, prompt_digest or digest_of(prompt_ids))
        token_ids = _packed(output_ids, "output_ids")
        with self._lock:
            if (begun := self._continued.get(place)) is not None:
                place = (origin.tenant, begun[0])
                token_ids = _packed(prompt_ids[-begun[1] :], "prompt_ids") + token_ids
            shorter = None
            for entry in self._candidates(place):
                if entry.hint != origin.hint:
                    continue
                if entry.token_ids == token_ids:
                    self._entries.move_to_end(entry.serial)
                    return
                if entry.token_ids == token_ids[: len(entry.token_ids)]:
                    shorter = entry
            if shorter is not None:
                self._remove(shorter.serial)
            self._add(place, origin, token_ids)
            while self.num_bytes > self.max_bytes:
                self._remove(next(iter(self._entries)))
                self.counters["evictions"] += 1

    def expect_rest(
        self, tenant: str, prompt_digest: bytes, turn_digest: bytes, num_begun_tokens: int
    ) -> None:
        """Say that a prompt ends inside a turn, whose rest is going to be generated.

        turn_digest:      of the prompt before that turn, generation prompt included.
        num_begun_tokens: how many of the prompt's last ids the turn begins with, at least one.
        """
        with self._lock:
            self._continued[tenant, prompt_digest] = (turn_digest, num_begun_tokens)
            self._continued.move_to_end((tenant, prompt_digest))
            if len(self._continued) > _MAX_CONTINUED:
                self._continued.popitem(last=False)

    def find(self, tenant: str, prompt_digest: bytes) -> Candidates | None:
        """Return what was generated behind a prompt, None if nothing is held."""
        return self._places.get((tenant, prompt_digest))

    def touch(self, serials: Iterable[int]) -> None:
        """Note that these entries were used just now; those that are gone are passed over."""
        with self._lock:
            for serial in serials:
                if serial in self._entries:
                    self._entries.move_to_end(serial)

    def count(self, event: str) -> None:
        """Raise a counter by one."""
        with self._lock:
            self.counters[event] += 1

    def _candidates(self, place: _Place) -> tuple[LedgerEntry, ...]:
        held = self._places.get(place)
        return () if held is None else held.entries

    def _add(self, place: _Place, origin: Origin, token_ids: "array[int]") -> None:
        texts = sys.getsizeof(origin.tenant) + sys.getsizeof(origin.hint)
        num_bytes = _ENTRY_BYTES + token_ids.itemsize * len(token_ids) + texts
        entry = LedgerEntry(
            next(self._serials), origin.hint, origin.is_hint_given, token_ids, num_bytes
        )
        self._places[place] = Candidates(next(self._serials), (*self._candidates(place), entry))
        self._entries[entry.serial] = (place, entry)
        self.num_bytes += num_bytes

    def _remove(self, serial: int) -> None:
        place, entry = self._entries.pop(serial)
        left = tuple(e for e in self._candidates(place) if e is not entry)
        if left:
            self._places[place] = Candidates(next(self._serials), left)
        else:
            del self._places[place]
        self.num_bytes -= entry.num_bytes


def _packed(token_ids: Sequence[int], name: str) -> "array[int]":
    try:
        return array("I", token_ids)
    except (OverflowError, TypeError) as error:
        raise ValueError(f"{name}: want token ids, unsigned 32-bit numbers ({error})") from error
