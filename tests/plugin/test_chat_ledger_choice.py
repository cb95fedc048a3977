"""Where a server keeps its ledger: settled once, before the other processes start."""

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from sglang_kimi import environment
from sglang_kimi.chat import ledger_choice, register
from sglang_kimi.codec.disk_ledger import DiskLedger
from sglang_kimi.codec.ledger import TurnLedger


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in (environment.LEDGER_PATH, environment.LEDGER_BYTES, environment.LEDGER_MAX_AGE_S):
        monkeypatch.setenv(name, "")  # so that it is put back even where the code sets it
        monkeypatch.delenv(name)


@pytest.fixture
def at_exit(monkeypatch):
    """Return what would be called when the process ends."""
    calls = []
    monkeypatch.setattr(
        ledger_choice.atexit, "register", lambda f, *a, **k: calls.append(lambda: f(*a, **k))
    )
    return calls


def server_args(mode="null", workers=1):
    return SimpleNamespace(disaggregation_mode=mode, tokenizer_worker_num=workers)


def test_one_process_remembers_in_memory():
    ledger_choice.prepare(server_args())
    kept = ledger_choice.open_kept()
    assert isinstance(kept.ledger, TurnLedger) and kept.exchange is None
    assert kept.ledger.max_bytes == 268_435_456


def test_tokenizer_workers_get_a_file_of_their_own_that_goes_with_the_server(at_exit):
    ledger_choice.prepare(server_args(workers=2))
    path = Path(os.environ[environment.LEDGER_PATH])
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    one, other = (ledger_choice.open_kept().ledger for _ in range(2))
    one.record([1], [2], SimpleNamespace(tenant="t", hint=None, is_hint_given=True))
    other.refresh()
    assert other.num_entries == 1
    for ledger in (one, other):
        ledger.close()
    (remove,) = at_exit
    remove()
    assert not path.parent.exists()


def test_the_operators_file_is_what_workers_and_pairs_use(monkeypatch, tmp_path, at_exit):
    monkeypatch.setenv(environment.LEDGER_PATH, str(tmp_path / "ledger"))
    monkeypatch.setenv(environment.LEDGER_BYTES, "1000000")
    monkeypatch.setenv(environment.LEDGER_MAX_AGE_S, "60")
    for args in (server_args(workers=2), server_args("prefill"), server_args("decode", 4)):
        ledger_choice.prepare(args)
    kept = ledger_choice.open_kept()
    assert isinstance(kept.ledger, DiskLedger) and kept.exchange is not None
    assert (kept.ledger.max_bytes, kept.ledger.max_age_s) == (1_000_000, 60)
    assert [file.name for file in tmp_path.iterdir() if "-" not in file.name] == ["ledger"]
    assert not at_exit
    kept.ledger.close()


@pytest.mark.parametrize("mode", ["prefill", "decode"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_pair_without_a_file_has_no_ledger_and_the_log_says_how_to_get_one(mode, workers, caplog):
    ledger_choice.prepare(server_args(mode, workers))
    assert ledger_choice.open_kept() is None
    assert environment.ledger_path() is None
    (line,) = caplog.messages
    assert "ledger: off" in line and environment.LEDGER_PATH in line


def test_no_ledger_needs_no_file(monkeypatch, at_exit):
    monkeypatch.setenv(environment.LEDGER_BYTES, "0")
    ledger_choice.prepare(server_args(workers=2))
    assert ledger_choice.open_kept() is None and environment.ledger_path() is None


def test_a_file_that_cannot_be_used_stops_the_start_with_its_name(monkeypatch, tmp_path):
    path = tmp_path / "ledger"
    path.touch(0o644)
    monkeypatch.setenv(environment.LEDGER_PATH, str(path))
    with pytest.raises(
        SystemExit, match=rf"^sglang-kimi: {environment.LEDGER_PATH}: {path}: want mode 0600"
    ):
        ledger_choice.prepare(server_args())


@pytest.mark.parametrize("value", ["0", "-1", "7d", "1.5"])
def test_a_wrong_age_stops_the_start_with_its_name_and_value(monkeypatch, value):
    monkeypatch.setenv(environment.LEDGER_MAX_AGE_S, value)
    name = environment.LEDGER_MAX_AGE_S
    with pytest.raises(SystemExit, match=f"{name}: want a whole number of seconds.*got '{value}'"):
        register.register()


def test_turns_go_after_a_week_where_nothing_is_set():
    assert environment.ledger_max_age_s() == 604_800
