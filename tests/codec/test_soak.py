"""Thousands of conversations: the limits hold, and what is counted is the memory really taken."""

from pathlib import Path

import pytest

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.bench.soak import CACHE_BYTES, LEDGER_BYTES, SoakFigures, soak


@pytest.fixture(scope="module")
def vocabulary(mini_checkpoint: Path) -> Vocabulary:
    return Vocabulary.load(mini_checkpoint)


def assert_within(figures: SoakFigures, ledger_bytes: int, cache_bytes: int) -> None:
    assert ledger_bytes * 0.95 < figures.ledger_bytes <= figures.greatest_ledger_bytes
    assert cache_bytes * 0.95 < figures.cache_bytes <= figures.greatest_cache_bytes
    assert figures.greatest_ledger_bytes <= ledger_bytes
    assert figures.greatest_cache_bytes <= cache_bytes
    assert figures.num_evictions + figures.num_entries == figures.num_turns
    assert figures.num_evictions > figures.num_entries


def test_small_limits_hold_and_no_conversation_under_way_loses_a_turn(
    vocabulary: Vocabulary,
) -> None:
    figures = soak(vocabulary, 600, ledger_bytes=400_000, cache_bytes=1_500_000)
    assert_within(figures, 400_000, 1_500_000)
    assert figures.num_turns > 1500 and figures.num_lost_turns == 0


def test_what_is_counted_is_the_memory_that_is_held(vocabulary: Vocabulary) -> None:
    figures = soak(vocabulary, 300, ledger_bytes=400_000, cache_bytes=1_500_000, is_traced=True)
    counted = figures.ledger_bytes + figures.cache_bytes
    assert figures.traced_bytes is not None
    assert counted * 0.6 < figures.traced_bytes < counted * 1.1


@pytest.mark.slow
def test_ten_thousand_conversations_stay_within_the_limits(vocabulary: Vocabulary) -> None:
    figures = soak(vocabulary, 10_000)
    assert_within(figures, LEDGER_BYTES, CACHE_BYTES)
    assert figures.num_conversations == 10_000 and figures.num_lost_turns == 0
    assert figures.resident_bytes < 1.3 * (LEDGER_BYTES + CACHE_BYTES)
