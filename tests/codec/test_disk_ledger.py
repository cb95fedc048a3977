"""The ledger in a file: the same turns as in memory, and what a file brings with it."""

import logging
import sqlite3
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sglang_kimi.codec.disk_ledger import DiskLedger
from sglang_kimi.codec.ledger import Ledger, Origin, TurnLedger, digest_of
from sglang_kimi.codec.ledger_file import LedgerFile

PROMPT = [1, 2, 3]
HERE = Origin("t", "h")
DAY_S = 24 * 3600.0


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        """Start some day."""
        self.now = 1e9

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path, clock: Clock) -> Iterator[DiskLedger]:
    ledger = DiskLedger(LedgerFile(path), clock=clock)
    yield ledger
    ledger.close()


def outputs(ledger: Ledger, prompt: list[int] = PROMPT, tenant: str = "t") -> list[list[int]]:
    ledger.refresh()
    found = ledger.find(tenant, digest_of(prompt))
    return [] if found is None else [list(entry.token_ids) for entry in found.entries]


steps = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from([(None, True), ("h", True), ("h", False), ("i", True)]),
        st.lists(st.integers(0, 1), max_size=2),
        st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 2), max_size=4),
        st.integers(0, 2),
    ),
    max_size=30,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(steps=steps)
def test_it_finds_what_a_ledger_in_memory_finds(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, tuple[str | None, bool], list[int], list[int], int]],
) -> None:
    ours = DiskLedger(LedgerFile(tmp_path_factory.mktemp("ledger") / "l"))
    both: tuple[Ledger, ...] = (ours, TurnLedger())
    for tenant, (hint, is_given), prompt, output, num_begun in steps:
        origin = Origin(tenant, hint, is_given)
        found = []
        for ledger in both:
            if 0 < num_begun <= len(prompt):
                before = prompt[: len(prompt) - num_begun]
                ledger.expect_rest(tenant, digest_of(prompt), digest_of(before), num_begun)
            ledger.record(prompt, output, origin, prompt_digest=digest_of(prompt))
            ledger.refresh()
            prompts = [[], [0], [1], [0, 0], [0, 1], [1, 0], [1, 1]]
            held = [ledger.find(t, digest_of(p)) for t in "ab" for p in prompts]
            found.append(
                [
                    sorted((str(e.hint), e.is_hint_given, e.token_ids) for e in h.entries)
                    for h in held
                    if h is not None
                ]
            )
        assert found[0] == found[1]
    assert not ours.counters["errors"]
    ours.close()


def test_a_restart_goes_on_with_the_turns(ledger: DiskLedger, path: Path) -> None:
    ledger.record(PROMPT, [7, 8], HERE)
    ledger.close()
    again = DiskLedger(LedgerFile(path), clock=Clock())
    again.refresh()
    found = again.find("t", digest_of(PROMPT))
    assert found is not None
    (entry,) = found.entries
    assert (entry.token_ids, entry.hint, entry.is_hint_given) == (array("I", [7, 8]), "h", True)
    again.close()


def test_a_siblings_turn_is_found_where_nothing_was_before(ledger: DiskLedger, path: Path) -> None:
    sibling = DiskLedger(LedgerFile(path), clock=Clock())
    assert outputs(ledger) == []
    sibling.record(PROMPT, [7], HERE)
    assert outputs(ledger) == [[7]]
    sibling.record(PROMPT, [7, 8], HERE)
    assert outputs(ledger) == [[7, 8]]
    sibling.close()


def test_the_version_changes_with_the_turns_alone(ledger: DiskLedger, path: Path) -> None:
    sibling = DiskLedger(LedgerFile(path), clock=Clock())
    seen = []
    for prompt, output in ((PROMPT, [7]), ([9], [7]), (PROMPT, [7]), (PROMPT, [8])):
        sibling.record(prompt, output, HERE)
        ledger.refresh()
        found = ledger.find("t", digest_of(PROMPT))
        assert found is not None
        seen.append(found.version)
    assert seen[0] == seen[1] == seen[2] != seen[3]
    sibling.close()


def test_nothing_is_read_again_where_no_one_wrote(
    ledger: DiskLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.record(PROMPT, [7], HERE)
    assert outputs(ledger) == [[7]] and outputs(ledger, [5]) == []
    monkeypatch.setattr("sglang_kimi.codec.disk_ledger._FIND", "no SQL")
    assert outputs(ledger) == [[7]] and outputs(ledger, [5]) == []
    assert not ledger.counters["errors"]


def test_what_is_unused_for_too_long_goes_everywhere(path: Path, clock: Clock) -> None:
    ours, sibling = (DiskLedger(LedgerFile(path), max_age_s=DAY_S, clock=clock) for _ in range(2))
    for number in range(3):
        ours.record([number], [7], HERE)
    clock.now += DAY_S / 2
    found = sibling.find("t", digest_of([1]))
    assert found is not None
    sibling.touch(entry.serial for entry in found.entries)
    sibling.record([3], [7], HERE)  # writes the use down
    clock.now += DAY_S / 2 + 1
    assert [bool(outputs(ours, [number])) for number in range(4)] == [False, True, False, True]
    assert [bool(outputs(sibling, [number])) for number in range(4)] == [False, True, False, True]
    assert ours.counters["expired"] + sibling.counters["expired"] == 2
    ours.close()
    sibling.close()


def test_the_least_recently_used_go_first_and_the_file_keeps_its_limit(
    path: Path, clock: Clock
) -> None:
    limit = 1024 * 1024
    ledger = DiskLedger(LedgerFile(path), max_bytes=limit, clock=clock)
    kept = None
    for number in range(2000):
        clock.now += 61
        ledger.record([number], list(range(500)), HERE)
        kept = kept or ledger.find("t", digest_of([0]))
        assert kept is not None
        ledger.touch(entry.serial for entry in kept.entries)
        assert ledger.num_bytes <= limit
    assert outputs(ledger, [0]) and not outputs(ledger, [1])
    newest = [bool(outputs(ledger, [number])) for number in range(1, 2000)]
    assert newest == sorted(newest) and sum(newest) > 200
    assert ledger.num_entries + ledger.counters["evictions"] == 2000
    assert path.stat().st_size <= limit + 64 * 1024
    assert path.with_name(path.name + "-wal").stat().st_size <= 17 * 1024 * 1024
    ledger.close()


def test_what_was_removed_is_gone_from_the_file(path: Path, clock: Clock) -> None:
    ledger = DiskLedger(LedgerFile(path), max_age_s=DAY_S, clock=clock)
    secret = [0xABCDEF01, 0x10FEDCBA] * 20
    ledger.record(PROMPT, secret, HERE)
    ledger.close()
    assert array("I", secret).tobytes() in path.read_bytes()
    clock.now += 2 * DAY_S
    ledger = DiskLedger(LedgerFile(path), max_age_s=DAY_S, clock=clock)
    ledger.refresh()
    ledger.close()
    assert array("I", secret[:2]).tobytes() not in path.read_bytes()


def test_a_locked_file_costs_reuse_alone(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = DiskLedger(LedgerFile(path, busy_timeout_s=0.05), clock=clock)
    ledger.record(PROMPT, [7], HERE)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with caplog.at_level(logging.WARNING):
        ledger.record([424242], [434343], Origin("secret tenant"))
        ledger.record([424242], [434343], Origin("secret tenant"))
    other.execute("ROLLBACK")
    assert outputs(ledger) == [[7]] and outputs(ledger, [424242], "secret tenant") == []
    assert ledger.counters["errors"] == 2
    (line,) = caplog.messages
    assert str(path) in line and "SQLITE_BUSY" in line
    assert not any(word in line for word in ("424242", "434343", "secret"))
    ledger.record([424242], [434343], Origin("secret tenant"))
    assert outputs(ledger, [424242], "secret tenant") == [[434343]]
    ledger.close()
    other.close()


def test_a_full_disk_costs_reuse_alone(
    ledger: DiskLedger, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.record(PROMPT, [7], HERE)
    with ledger._file.writing() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
    ledger._file._writer.execute(f"PRAGMA max_page_count = {pages}")
    ledger.record([4], [8] * 10_000, HERE)
    assert ledger.counters["errors"] == 1 and "SQLITE_FULL" in caplog.text
    assert outputs(ledger) == [[7]] and outputs(ledger, [4]) == []


def test_wrong_numbers_are_refused_by_name(path: Path) -> None:
    file = LedgerFile(path)
    with pytest.raises(ValueError, match="max_bytes: want 0 or more, got -1"):
        DiskLedger(file, max_bytes=-1)
    with pytest.raises(ValueError, match="max_age_s: want more than 0, got 0"):
        DiskLedger(file, max_age_s=0)
    with pytest.raises(ValueError, match="max_cached_bytes: want 0 or more, got -1"):
        DiskLedger(file, max_cached_bytes=-1)
    with pytest.raises(ValueError, match="output_ids: want token ids"):
        DiskLedger(file).record(PROMPT, [-1], HERE)
    file.close()


def test_memory_for_what_was_read_is_bounded(path: Path) -> None:
    ledger = DiskLedger(LedgerFile(path), max_cached_bytes=20_000)
    for number in range(50):
        ledger.record([number], [number] * 200, HERE)
    for _ in range(2):
        for number in range(50):
            assert outputs(ledger, [number]) == [[number] * 200]
            assert ledger._found.num_bytes <= 20_000
    ledger.close()
