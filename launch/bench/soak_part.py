"""The part `soak`: thousands of conversations, and the memory that their encoder takes."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from sglang_kimi.codec.vocabulary import Vocabulary

from .soak import CACHE_BYTES, LEDGER_BYTES, SoakFigures, soak
from .workshop import Workshop

_GREATEST_GROWTH = 1.3
"""Of the process, to what is counted: an allocator keeps some room of its own."""


def run(workshop: Workshop) -> list[str]:
    """Print the figures; a limit that did not hold or a turn that was lost is a miss."""
    figures = soak_apart(workshop.vocabulary)
    counted = figures.ledger_bytes + figures.cache_bytes
    print(f"conversations, turns     {figures.num_conversations:>12,}{figures.num_turns:>12,}")
    print(f"turns lost while under way {figures.num_lost_turns:>10,}")
    print(f"{'':<25}{'at the end':>12}{'greatest':>12}{'limit':>12}")
    print(
        f"{'ledger, bytes counted':<25}{figures.ledger_bytes:>12,}"
        f"{figures.greatest_ledger_bytes:>12,}{LEDGER_BYTES:>12,}"
    )
    print(
        f"{'cache, bytes counted':<25}{figures.cache_bytes:>12,}"
        f"{figures.greatest_cache_bytes:>12,}{CACHE_BYTES:>12,}"
    )
    print(f"{'process, bytes grown':<25}{figures.resident_bytes:>12,}")
    print(f"\nledger: {figures.num_entries:,} turns held, {figures.num_evictions:,} put out")
    print(f"cache: {figures.num_segments:,} segments held")
    print(f"grown / counted: {figures.resident_bytes / counted:.2f}; {figures.seconds:.0f} s")
    return _misses(figures, counted)


def soak_apart(vocabulary: Vocabulary) -> SoakFigures:
    """Run it in a new process: in one that has worked, what was freed would hide the growth."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(soak, vocabulary).result()


def _misses(figures: SoakFigures, counted: int) -> list[str]:
    misses = []
    if figures.num_lost_turns:
        misses.append(f"soak: {figures.num_lost_turns} turns were lost while under way")
    if figures.greatest_ledger_bytes > LEDGER_BYTES or figures.greatest_cache_bytes > CACHE_BYTES:
        misses.append("soak: a limit did not hold")
    if figures.resident_bytes > _GREATEST_GROWTH * counted:
        misses.append(f"soak: the process grew by {figures.resident_bytes:,} for {counted:,} bytes")
    return misses
