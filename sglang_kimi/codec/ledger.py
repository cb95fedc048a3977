"""The turns that the model really generated, found again by the prompt that stood before them.

A turn is kept as its token ids under the tenant and a digest of its whole prompt, so it can only
come back behind exactly those ids. Knows ids alone: what a client made of a turn is for
`same_turn` to compare. `Ledger` says what every ledger does; the one here keeps its turns in
memory, `DiskLedger` in a file that several processes share.
"""

import hashlib
import sys
import threading
from array import array
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Protocol

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
    """The turns generated behind one prompt; only the very same ones have an equal version."""

    version: Hashable
    entries: tuple[LedgerEntry, ...]

    def entry_of(self, token_ids: Sequence[int]) -> LedgerEntry | None:
        """Return the last one of just these ids, None without one."""
        wanted = packed(token_ids, "token_ids")
        return next((e for e in reversed(self.entries) if e.token_ids == wanted), None)


Place = tuple[str, bytes]
"""Where a turn belongs: the tenant, and the digest of the prompt before it."""


class IdsDigest:
    """The digest of a prompt, carried on from segment to segment."""

    __slots__ = ("_state",)

    def __init__(self, state: Any = None) -> None:
        """Start before the first id."""
        self._state = hashlib.blake2b(digest_size=32) if state is None else state

    def add(self, token_ids: Sequence[int]) -> None:
        """Add the next ids; ValueError for one that is no unsigned 32-bit number."""
        self._state.update(packed(token_ids, "prompt_ids"))

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


class Ledger(Protocol):
    """Generated turns of all conversations, least recently used out first; thread-safe.

    counters: "hits" and "misses" count assistant turns that were found or not, each once while the
    encoder remembers it; "ambiguous" those with several different matches, "evictions" the turns
    that the limit put out.
    """

    counters: Counter[str]

    @property
    def num_bytes(self) -> int:
        """Return the bytes that the turns take, with what it takes to find them."""

    @property
    def max_bytes(self) -> int:
        """Return how many they may take."""

    def refresh(self) -> None:
        """Let `find` see all that was recorded up to now, here or by another process."""

    def find(self, tenant: str, prompt_digest: bytes) -> Candidates | None:
        """Return what was generated behind a prompt, None if nothing is held."""

    def touch(self, serials: Iterable[int]) -> None:
        """Note that these entries were used just now; those that are gone are passed over."""

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

    def expect_rest(
        self, tenant: str, prompt_digest: bytes, turn_digest: bytes, num_begun_tokens: int
    ) -> None:
        """Say that a prompt ends inside a turn, whose rest is going to be generated here.

        turn_digest:      of the prompt before that turn, generation prompt included.
        num_begun_tokens: how many of the prompt's last ids the turn begins with, at least one.
        """

    def count(self, event: str) -> None:
        """Raise a counter by one."""


class BegunTurns:
    """Prompts that end inside a turn, until the process that encoded them gets their answers."""

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.Lock()
        self._begun: OrderedDict[Place, tuple[bytes, int]] = OrderedDict()

    def expect_rest(
        self, tenant: str, prompt_digest: bytes, turn_digest: bytes, num_begun_tokens: int
    ) -> None:
        """Do what `Ledger.expect_rest` says."""
        with self._lock:
            self._begun[tenant, prompt_digest] = (turn_digest, num_begun_tokens)
            self._begun.move_to_end((tenant, prompt_digest))
            if len(self._begun) > _MAX_CONTINUED:
                self._begun.popitem(last=False)

    def whole(
        self,
        tenant: str,
        prompt_ids: Sequence[int],
        prompt_digest: bytes | None,
        output_ids: Sequence[int],
    ) -> tuple[Place, "array[int]"]:
        """Return where an output belongs and its ids, both from the turn's beginning on."""
        place = (tenant, prompt_digest or digest_of(prompt_ids))
        token_ids = packed(output_ids, "output_ids")
        if (begun := self._begun.get(place)) is not None:
            place = (tenant, begun[0])
            token_ids = packed(prompt_ids[-begun[1] :], "prompt_ids") + token_ids
        return place, token_ids


class TurnLedger:
    """A ledger in memory, of one process."""

    def __init__(self, max_bytes: int = 256 * 1024 * 1024) -> None:
        """Keep at most `max_bytes` of turns, their ids and what it takes to find them."""
        if max_bytes < 0:
            raise ValueError(f"max_bytes: want 0 or more, got {max_bytes}")
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self.counters: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._serials = count(1)
        self._places: dict[Place, Candidates] = {}
        self._entries: OrderedDict[int, tuple[Place, LedgerEntry]] = OrderedDict()
        self._begun = BegunTurns()

    @property
    def num_entries(self) -> int:
        """Return the number of turns held."""
        return len(self._entries)

    def refresh(self) -> None:
        """Nothing to do: `find` sees every turn at once."""

    def record(
        self,
        prompt_ids: Sequence[int],
        output_ids: Sequence[int],
        origin: Origin,
        *,
        prompt_digest: bytes | None = None,
    ) -> None:
        """See `Ledger.record`."""
        if not output_ids:
            return
        place, token_ids = self._begun.whole(origin.tenant, prompt_ids, prompt_digest, output_ids)
        with self._lock:
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
        """See `Ledger.expect_rest`."""
        self._begun.expect_rest(tenant, prompt_digest, turn_digest, num_begun_tokens)

    def find(self, tenant: str, prompt_digest: bytes) -> Candidates | None:
        """See `Ledger.find`."""
        return self._places.get((tenant, prompt_digest))

    def touch(self, serials: Iterable[int]) -> None:
        """See `Ledger.touch`."""
        with self._lock:
            for serial in serials:
                if serial in self._entries:
                    self._entries.move_to_end(serial)

    def count(self, event: str) -> None:
        """See `Ledger.count`."""
        with self._lock:
            self.counters[event] += 1

    def _candidates(self, place: Place) -> tuple[LedgerEntry, ...]:
        held = self._places.get(place)
        return () if held is None else held.entries

    def _add(self, place: Place, origin: Origin, token_ids: "array[int]") -> None:
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


def packed(token_ids: Sequence[int], name: str) -> "array[int]":
    """Return ids as an array; ValueError with the name if one is no unsigned 32-bit number."""
    try:
        return array("I", token_ids)
    except (OverflowError, TypeError) as error:
        raise ValueError(f"{name}: want token ids, unsigned 32-bit numbers ({error})") from error
