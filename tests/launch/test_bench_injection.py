"""The parts `injection` and `soak` of `sglang-kimi bench codec`: their tables, what is a miss."""

from types import SimpleNamespace

import pytest

from sglang_kimi.launch.bench import injection_part, soak_part
from sglang_kimi.launch.bench.injection import Tally
from sglang_kimi.launch.bench.soak import CACHE_BYTES, LEDGER_BYTES, SoakFigures

COUNTED = {
    "ledger_bytes": LEDGER_BYTES,
    "greatest_ledger_bytes": LEDGER_BYTES,
    "cache_bytes": CACHE_BYTES,
    "greatest_cache_bytes": CACHE_BYTES,
    "resident_bytes": CACHE_BYTES,
}


def soak_misses(monkeypatch, **figures):
    held = SoakFigures(num_conversations=10_000, **{**COUNTED, **figures})
    monkeypatch.setattr(soak_part, "soak_apart", lambda vocabulary: held)
    return soak_part.run(SimpleNamespace(vocabulary=None))


def test_a_soak_within_its_limits_misses_nothing(monkeypatch, capsys):
    assert soak_misses(monkeypatch) == []
    assert "10,000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("figures", "miss"),
    [
        ({"num_lost_turns": 3}, "3 turns were lost"),
        ({"greatest_ledger_bytes": LEDGER_BYTES + 1}, "a limit did not hold"),
        ({"greatest_cache_bytes": CACHE_BYTES + 1}, "a limit did not hold"),
        ({"resident_bytes": 2 * CACHE_BYTES}, "the process grew by 48,000,000"),
    ],
)
def test_a_soak_names_what_it_misses(monkeypatch, figures, miss):
    (line,) = soak_misses(monkeypatch, **figures)
    assert line.startswith("soak: ") and miss in line


def test_every_fault_of_an_injection_counts_and_the_first_are_named(capsys):
    tally = Tally("codec")
    for number in range(9):
        tally.count(50, f"piece {number}" if number else None)
    lines = list(injection_part._shown([tally]))
    assert lines[0] == "injection, codec, prompt 2: piece 1" and len(lines) == 5
    assert capsys.readouterr().out.split() == ["codec", "9", "450", "8"]
