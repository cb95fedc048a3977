"""A ledger's file is its owner's alone, whole, and ours, or it is not opened."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from sglang_kimi.codec.disk_ledger import DiskLedger
from sglang_kimi.codec.ledger import Origin
from sglang_kimi.codec.ledger_file import LedgerFile, LedgerFileError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def wide_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_all_its_files_are_the_owners_alone(path: Path, wide_umask: None) -> None:
    ledger = DiskLedger(LedgerFile(path))
    ledger.record([1], [2], Origin())
    files = sorted(path.parent.iterdir())
    assert [file.name.removeprefix(path.name) for file in files] == ["", "-shm", "-wal"]
    assert {mode(file) for file in files} == {0o600}
    ledger.close()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("rights", [0o640, 0o604, 0o666])
@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
def test_a_file_that_others_can_read_is_refused(path: Path, rights: int, end: str) -> None:
    LedgerFile(path).close()
    wide = path.with_name(path.name + end)
    wide.touch(0o600)
    wide.chmod(rights)
    with pytest.raises(LedgerFileError, match=rf"{wide}: want mode 0600, .* got {rights:04o}"):
        LedgerFile(path)
    assert mode(wide) == rights


def test_another_owners_file_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LedgerFile(path).close()
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(LedgerFileError, match=f"want a file of the server's own user {me + 1}"):
        LedgerFile(path)


def test_a_link_or_folder_is_refused(tmp_path: Path, path: Path) -> None:
    LedgerFile(path).close()
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    for name in ("link", "dangling", "folder"):
        with pytest.raises(LedgerFileError, match=f"{name}: want a plain file"):
            LedgerFile(tmp_path / name)
    assert not (tmp_path / "nothing").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerFileError, match=r"none/ledger: cannot be used: No such file"):
        LedgerFile(tmp_path / "none" / "ledger")


def test_what_is_no_ledger_is_left_as_it_was(path: Path) -> None:
    path.touch(0o600)
    for content in (b"", b"some notes of mine" * 100):
        path.write_bytes(content)
        with pytest.raises(LedgerFileError, match=r"no ledger.*; want another path, or remove it"):
            LedgerFile(path)
        assert path.read_bytes() == content


def test_another_programs_database_is_refused(path: Path) -> None:
    path.touch(0o600)
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE turns (id)")
    with pytest.raises(LedgerFileError, match="no ledger; want another path, or remove it"):
        LedgerFile(path)


def test_another_versions_ledger_is_refused_with_both_versions(path: Path) -> None:
    LedgerFile(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 7")
    with pytest.raises(LedgerFileError, match="a ledger of version 7, want 1: remove it"):
        LedgerFile(path)


def test_a_damaged_ledger_is_found_by_the_check(path: Path) -> None:
    ledger = DiskLedger(LedgerFile(path))
    for number in range(300):
        ledger.record([number], [7] * 100, Origin())
    ledger.close()
    file = LedgerFile(path)
    file.check()
    file.close()
    content = bytearray(path.read_bytes())
    content[8192:40_000] = bytes(40_000 - 8192)
    path.write_bytes(content)
    file = LedgerFile(path)
    with pytest.raises(LedgerFileError, match=f"{path}: the ledger is damaged"):
        file.check()
    file.close()


def test_a_write_that_fails_leaves_nothing(path: Path) -> None:
    file = LedgerFile(path)
    with pytest.raises(ZeroDivisionError), file.writing() as db:
        db.execute("UPDATE removals SET number = 5")
        raise ZeroDivisionError
    with file.writing() as db:
        assert db.execute("SELECT number FROM removals").fetchone() == (0,)
    file.close()
