"""A ledger in a file, which a restarted server and the other servers of its host go on with.

Whatever fails with the file costs reuse alone: it is counted and logged once, and the prompt is
encoded from its messages.
"""

import logging
import sqlite3
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from .found_turns import FoundTurns
from .ledger import BegunTurns, Candidates, LedgerEntry, Origin, Place
from .ledger_file import LedgerFile

logger = logging.getLogger(__name__)

_ENTRY_BYTES: Final = 700
"""What a turn read from the file takes in memory beside its ids."""

_USE_RESOLUTION_S: Final = 60.0
"""Uses closer together count as one: writing each would cost more than it tells."""

_EXPIRY_INTERVAL_S: Final = 60.0
_EVICTED_SHARE: Final = 64
"""Where room is needed this part of the turns goes at once: siblings then forget what they read."""

_FIND: Final = """
    SELECT serial, hint, is_hint_given, token_ids FROM turns
    WHERE prompt_digest = ? AND tenant = ? ORDER BY serial
"""
_FIND_OWN: Final = """
    SELECT serial, token_ids FROM turns WHERE prompt_digest = ? AND tenant = ? AND hint IS ?
"""
_ADD: Final = """
    INSERT INTO turns (tenant, prompt_digest, hint, is_hint_given, token_ids, used_at)
    VALUES (?, ?, ?, ?, ?, ?)
"""
_USE: Final = "UPDATE turns SET used_at = ?1 WHERE serial = ?2 AND used_at < ?1 - ?3"
_EVICT: Final = """
    DELETE FROM turns WHERE serial IN (SELECT serial FROM turns ORDER BY used_at, serial LIMIT ?)
"""


class DiskLedger:
    """A ledger in a `LedgerFile`; see `Ledger` for its methods.

    counters: besides those of every ledger, "expired" for turns that were dropped for their age and
    "errors" for what failed with the file.
    """

    def __init__(
        self,
        file: LedgerFile,
        *,
        max_bytes: int = 256 * 1024 * 1024,
        max_age_s: float = 7 * 24 * 3600,
        max_cached_bytes: int = 64 * 1024 * 1024,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep at most `max_bytes` in the file, and no turn unused for `max_age_s`.

        max_cached_bytes: memory for what was read lately. clock: seconds since the epoch.
        """
        if max_bytes < 0:
            raise ValueError(f"max_bytes: want 0 or more, got {max_bytes}")
        if max_age_s <= 0:
            raise ValueError(f"max_age_s: want more than 0, got {max_age_s}")
        self.max_bytes = max_bytes
        self.max_age_s = max_age_s
        self.num_bytes = 0
        self.counters: Counter[str] = Counter()
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        self._begun = BegunTurns()
        self._found = FoundTurns(max_cached_bytes)
        self._used: set[int] = set()
        self._seen = (-1, -1, 0)  # the file's version, its removals, its last serial
        self._next_expiry = 0.0
        self._reported: set[str] = set()

    @property
    def num_entries(self) -> int:
        """Return the number of turns in the file."""
        with self._file.reading() as db:
            (number,) = db.execute("SELECT count(*) FROM turns").fetchone()
        return int(number)

    def refresh(self) -> None:
        """See `Ledger.refresh`."""
        now = self._clock()
        if now >= self._next_expiry:
            self._next_expiry = now + _EXPIRY_INTERVAL_S
            with self._forgiving(), self._file.writing() as db:
                self._drop_unused(db, now)
        with self._forgiving(), self._file.reading() as db:
            self._forget_changed(db)

    def find(self, tenant: str, prompt_digest: bytes) -> Candidates | None:
        """See `Ledger.find`."""
        place = (tenant, prompt_digest)
        with suppress(KeyError):
            return self._found.get(place)
        with self._forgiving(), self._file.reading() as db:
            rows = db.execute(_FIND, (prompt_digest, tenant)).fetchall()
            candidates = _candidates(rows)
            self._found.put(place, candidates)
            return candidates
        return None

    def touch(self, serials: Iterable[int]) -> None:
        """See `Ledger.touch`."""
        with self._lock:
            self._used.update(serials)

    def record(
        self,
        prompt_ids: Sequence[int],
        output_ids: Sequence[int],
        origin: Origin,
        *,
        prompt_digest: bytes | None = None,
    ) -> None:
        """See `Ledger.record`; a turn in the file is there for every process at once."""
        if not output_ids:
            return
        place, token_ids = self._begun.whole(origin.tenant, prompt_ids, prompt_digest, output_ids)
        now = self._clock()
        with self._forgiving(), self._file.writing() as db:
            self._write(db, place, origin, token_ids.tobytes(), now)
            self._drop_unused(db, now)
            self._make_room(db)

    def expect_rest(
        self, tenant: str, prompt_digest: bytes, turn_digest: bytes, num_begun_tokens: int
    ) -> None:
        """See `Ledger.expect_rest`."""
        self._begun.expect_rest(tenant, prompt_digest, turn_digest, num_begun_tokens)

    def count(self, event: str) -> None:
        """See `Ledger.count`."""
        self._count(event, 1)

    def forget(self) -> None:
        """Drop what was read from the file, so that it is read again."""
        self._found.clear()

    def close(self) -> None:
        """Write what is still to be written and close the file."""
        with self._forgiving(), self._file.writing() as db:
            self._drop_unused(db, self._clock())
        self._file.close()

    # Reading, with the reading connection held

    def _forget_changed(self, db: sqlite3.Connection) -> None:
        """Drop from memory what any process has changed in the file since the last time."""
        version, removals, last_serial = self._seen
        (now_version,) = db.execute("PRAGMA data_version").fetchone()
        if now_version == version:
            return
        (now_removals,) = db.execute("SELECT number FROM removals").fetchone()
        if now_removals != removals:
            self._found.clear()
        rows = db.execute(
            "SELECT tenant, prompt_digest, serial FROM turns WHERE serial > ? ORDER BY serial",
            (last_serial,),
        )
        for tenant, prompt_digest, serial in rows:
            self._found.drop((tenant, prompt_digest))
            last_serial = serial
        self.num_bytes = self._file.num_bytes(db)
        self._seen = (now_version, now_removals, last_serial)

    # Writing, inside a transaction

    def _write(
        self, db: sqlite3.Connection, place: Place, origin: Origin, ids: bytes, now: float
    ) -> None:
        shorter = None
        for serial, held in db.execute(_FIND_OWN, (place[1], place[0], origin.hint)):
            if held == ids:
                self.touch([serial])
                return
            if ids.startswith(held):
                shorter = serial
        if shorter is not None:
            db.execute("DELETE FROM turns WHERE serial = ?", (shorter,))
        db.execute(_ADD, (*place, origin.hint, origin.is_hint_given, ids, now))

    def _drop_unused(self, db: sqlite3.Connection, now: float) -> None:
        """Write down which turns were used, then drop those that were not for too long."""
        with self._lock:
            used, self._used = self._used, set()
        db.executemany(_USE, [(now, serial, _USE_RESOLUTION_S) for serial in used])
        expired = db.execute("DELETE FROM turns WHERE used_at < ?", (now - self.max_age_s,))
        self._note_removed(db, expired.rowcount, "expired")

    def _make_room(self, db: sqlite3.Connection) -> None:
        num_removed = 0
        while self._file.num_bytes(db) > self.max_bytes:
            (number,) = db.execute("SELECT count(*) FROM turns").fetchone()
            if not number:
                break  # the limit is below what an empty file takes
            num_removed += db.execute(_EVICT, (max(1, number // _EVICTED_SHARE),)).rowcount
        self._note_removed(db, num_removed, "evictions")
        self.num_bytes = self._file.num_bytes(db)

    def _note_removed(self, db: sqlite3.Connection, number: int, event: str) -> None:
        if number:
            db.execute("UPDATE removals SET number = number + 1")
            self._count(event, number)

    # Failures

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        """Count what fails with the file, and log each kind once; no value ever gets there."""
        try:
            yield
        except sqlite3.Error as error:
            kind = getattr(error, "sqlite_errorname", type(error).__name__)
            self._count("errors", 1)
            with self._lock:
                is_new = kind not in self._reported
                self._reported.add(kind)
            if is_new:
                logger.warning(
                    "The ledger's file %s failed with %s; prompts are encoded from their messages "
                    "where it does. This is said once; sglang_kimi_ledger_errors_total counts.",
                    self._file.path,
                    kind,
                )

    def _count(self, event: str, number: int) -> None:
        with self._lock:
            self.counters[event] += number


def _candidates(rows: Sequence[tuple[int, str | None, int, bytes]]) -> Candidates | None:
    entries = []
    for serial, hint, is_hint_given, ids in rows:
        num_bytes = _ENTRY_BYTES + len(ids)
        token_ids = array("I")
        token_ids.frombytes(ids)
        entries.append(LedgerEntry(serial, hint, bool(is_hint_given), token_ids, num_bytes))
    if not entries:
        return None
    return Candidates(tuple(entry.serial for entry in entries), tuple(entries))
