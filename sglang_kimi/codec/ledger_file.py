"""A SQLite file that the processes of one host share; it is its owner's alone.

Holds token ids and digests, never a text. A file that others can read, that is damaged or that is
something else is refused when it is opened.
"""

import os
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

_APPLICATION_ID: Final = 0x4B4C6564
_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = (
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
    """CREATE TABLE turns (
        serial INTEGER PRIMARY KEY AUTOINCREMENT,
        tenant TEXT NOT NULL,
        prompt_digest BLOB NOT NULL,
        hint TEXT,
        is_hint_given INTEGER NOT NULL,
        token_ids BLOB NOT NULL,
        used_at REAL NOT NULL
    )""",
    "CREATE INDEX turns_by_prompt ON turns (prompt_digest, tenant)",
    "CREATE INDEX turns_by_use ON turns (used_at, serial)",
    "CREATE TABLE removals (number INTEGER NOT NULL)",
    "INSERT INTO removals VALUES (0)",
    """CREATE TABLE prompts (
        room TEXT PRIMARY KEY,
        side TEXT NOT NULL,
        request_digest BLOB NOT NULL,
        token_ids BLOB NOT NULL,
        call_ids TEXT NOT NULL,
        made_at REAL NOT NULL
    ) WITHOUT ROWID""",
)
_SIDE_FILES: Final = ("-wal", "-shm")
_MAX_LOG_BYTES: Final = 16 * 1024 * 1024


class LedgerFileError(ValueError):
    """The file cannot be used; the message names it and says what would be right."""


class LedgerFile:
    """An open file: one connection that reads and one that writes, each for one thread at a time.

    Raises LedgerFileError if the file cannot be made, is not its owner's alone, is damaged or was
    made by something else. Later failures are `sqlite3.Error`.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float = 5.0) -> None:
        """Open the file, made before if there is none; wait so long for another's write to end."""
        self.path = path
        self._read_lock = threading.Lock()
        self._write_lock = threading.Lock()
        try:
            if not path.exists():
                _make(path)
            for name in (path, *(path.with_name(path.name + end) for end in _SIDE_FILES)):
                _check_rights(name)
            self._writer = _connect(path, busy_timeout_s)
            self._reader = _connect(path, busy_timeout_s)
            _check_kind(self._writer, path)
        except OSError as error:
            raise LedgerFileError(f"{path}: cannot be used: {error.strerror}") from error
        except sqlite3.Error as error:
            raise LedgerFileError(
                f"{path}: no ledger that can be read ({error}); want another path, or remove it"
            ) from error

    def check(self) -> None:
        """Read the whole file; LedgerFileError if it is damaged."""
        with self.reading() as db, suppress(sqlite3.DatabaseError):
            if db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",):
                return
        raise LedgerFileError(f"{self.path}: the ledger is damaged; want it removed")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection that reads."""
        with self._read_lock:
            yield self._reader

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection that writes, in a transaction of its own: all of it or nothing."""
        with self._write_lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def num_bytes(self, db: sqlite3.Connection) -> int:
        """Return the bytes in use, as a connection sees them; room that is free again is none."""
        (num_pages,) = db.execute("PRAGMA page_count").fetchone()
        (num_free,) = db.execute("PRAGMA freelist_count").fetchone()
        (page_size,) = db.execute("PRAGMA page_size").fetchone()
        return int((num_pages - num_free) * page_size)

    def close(self) -> None:
        """Close both connections."""
        with self._read_lock, self._write_lock:
            self._reader.close()
            self._writer.close()


def _make(path: Path) -> None:
    """Make an empty ledger beside `path` and give it the name: no process ever sees half of one."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        os.close(handle)
        with closing(_connect(Path(draft), 0.0)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            for statement in _SCHEMA:
                db.execute(statement)
        with suppress(FileExistsError):  # another process was first
            os.link(draft, path)
    finally:
        os.unlink(draft)


def _connect(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    db = sqlite3.connect(
        path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
    )
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA secure_delete = ON")  # what was removed is gone from the file too
    db.execute(f"PRAGMA journal_size_limit = {_MAX_LOG_BYTES}")
    return db


def _check_rights(path: Path) -> None:
    with suppress(FileNotFoundError):
        found = path.lstat()  # never opened here: closing it would drop SQLite's own locks
        if not stat.S_ISREG(found.st_mode):
            raise LedgerFileError(f"{path}: want a plain file, no link or folder")
        if found.st_uid != os.geteuid():
            raise LedgerFileError(
                f"{path}: want a file of the server's own user {os.geteuid()}, got one of user "
                f"{found.st_uid}"
            )
        if found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            raise LedgerFileError(
                f"{path}: want mode 0600, since it holds what the model wrote, got {mode:04o}"
            )


def _check_kind(db: sqlite3.Connection, path: Path) -> None:
    (kind,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if kind != _APPLICATION_ID:
        raise LedgerFileError(f"{path}: no ledger; want another path, or remove it")
    if version != _SCHEMA_VERSION:
        raise LedgerFileError(
            f"{path}: a ledger of version {version}, want {_SCHEMA_VERSION}: remove it, or give "
            "another path"
        )
