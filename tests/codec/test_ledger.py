"""The ledger by itself: what is kept, what replaces what, what goes."""

import gc
import tracemalloc
from array import array
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglang_kimi.codec.ledger import IdsDigest, Origin, TurnLedger, digest_of

PROMPT = [1, 2, 3]
HERE = Origin("t", "h")


def digest(token_ids: list[int]) -> bytes:
    state = IdsDigest()
    state.add(token_ids)
    return state.value()


def outputs(ledger: TurnLedger, tenant: str = "t", prompt: list[int] = PROMPT) -> list[list[int]]:
    found = ledger.find(tenant, digest(prompt))
    return [] if found is None else [list(entry.token_ids) for entry in found.entries]


def test_a_turn_is_found_by_tenant_and_whole_prompt() -> None:
    ledger = TurnLedger()
    ledger.record(PROMPT, [7, 8], HERE)
    assert outputs(ledger) == [[7, 8]]
    assert outputs(ledger, "T") == outputs(ledger, "") == []
    for prompt in ([1, 2], [1, 2, 3, 4], [1, 3, 2], [0, 1, 2, 3]):
        assert outputs(ledger, prompt=prompt) == []
    assert ledger.num_entries == 1


def test_a_longer_output_replaces_the_one_it_goes_on_from() -> None:
    ledger = TurnLedger()
    for output in ([7], [7, 8], [7, 8, 9], [7, 8, 9]):
        ledger.record(PROMPT, output, HERE)
    assert outputs(ledger) == [[7, 8, 9]]
    assert ledger.num_bytes == TurnLedgerOf([7, 8, 9]).num_bytes


def TurnLedgerOf(output: list[int]) -> TurnLedger:  # noqa: N802
    ledger = TurnLedger()
    ledger.record(PROMPT, output, HERE)
    return ledger


def test_other_outputs_and_other_hints_stand_beside_each_other() -> None:
    ledger = TurnLedger()
    ledger.record(PROMPT, [7], HERE)
    ledger.record(PROMPT, [8], HERE)
    ledger.record(PROMPT, [7, 9], Origin("t", "other"))
    ledger.record(PROMPT, [7, 9], Origin("t"))
    assert sorted(outputs(ledger)) == [[7], [7, 9], [7, 9], [8]]


def test_a_change_of_the_candidates_gives_a_new_version() -> None:
    ledger = TurnLedger()
    versions = []
    for output in ([7], [7], [7, 8], [9]):
        ledger.record(PROMPT, output, HERE)
        found = ledger.find("t", digest(PROMPT))
        assert found is not None
        versions.append(found.version)
    assert versions[0] == versions[1] and len(set(versions)) == 3


def test_an_output_that_goes_on_inside_a_turn_is_recorded_from_the_turns_beginning() -> None:
    ledger = TurnLedger()
    ledger.record(PROMPT, [7, 8], HERE)
    ledger.expect_rest("t", digest([*PROMPT, 7, 8]), digest(PROMPT), 2)
    ledger.record([*PROMPT, 7, 8], [9], HERE)
    ledger.record([*PROMPT, 7, 8], [9], Origin("other"))
    assert outputs(ledger) == [[7, 8, 9]]
    assert outputs(ledger, "other", [*PROMPT, 7, 8]) == [[9]]


def test_a_digest_that_is_known_finds_the_same_place() -> None:
    ledger = TurnLedger()
    ledger.record(PROMPT, [7], HERE, prompt_digest=digest_of(PROMPT))
    ledger.record(PROMPT, [8], HERE)
    ledger.expect_rest("t", digest([*PROMPT, 7]), digest(PROMPT), 1)
    ledger.record([*PROMPT, 7], [9], HERE, prompt_digest=digest([*PROMPT, 7]))
    assert outputs(ledger) == [[8], [7, 9]]


def test_an_empty_output_is_no_turn() -> None:
    ledger = TurnLedger()
    ledger.record(PROMPT, [], HERE)
    assert ledger.num_entries == ledger.num_bytes == 0


@pytest.mark.parametrize("wrong", [[-1], [2**32], ["a"], [None], [1.5]])
def test_what_is_no_token_id_is_refused_by_name(wrong: list[int]) -> None:
    ledger = TurnLedger()
    with pytest.raises(ValueError, match="output_ids: want token ids, unsigned 32-bit"):
        ledger.record(PROMPT, wrong, HERE)
    with pytest.raises(ValueError, match="prompt_ids: want token ids, unsigned 32-bit"):
        ledger.record(wrong, [1], HERE)
    with pytest.raises(ValueError, match="max_bytes: want 0 or more, got -1"):
        TurnLedger(max_bytes=-1)
    assert ledger.num_entries == 0


def test_the_least_recently_used_turn_goes_first() -> None:
    ledger = TurnLedger(max_bytes=4 * TurnLedgerOf([0]).num_bytes)
    for number in range(4):
        ledger.record([number], [0], HERE)
    first = ledger.find("t", digest([0]))
    assert first is not None
    ledger.touch([first.entries[0].serial, 10**9])
    ledger.record([4], [0], HERE)
    ledger.record([2], [0], HERE)  # known already: used, not added
    ledger.record([5], [0], HERE)
    held = [number for number in range(6) if outputs(ledger, prompt=[number])]
    assert held == [0, 2, 4, 5]
    assert ledger.counters == {"evictions": 2}


def test_a_turn_that_is_too_large_alone_is_not_kept() -> None:
    ledger = TurnLedger(max_bytes=1000)
    ledger.record(PROMPT, [1] * 1000, HERE)
    assert ledger.num_entries == ledger.num_bytes == 0


records = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from([None, "h", "i"]),
        st.lists(st.integers(0, 2), max_size=2),
        st.lists(st.integers(0, 2), max_size=4),
    ),
    max_size=30,
)


@given(records=records, limit=st.integers(0, 8))
def test_bytes_are_those_of_what_is_held_and_never_above_the_limit(
    records: list[tuple[str, str | None, list[int], list[int]]], limit: int
) -> None:
    ledger = TurnLedger(max_bytes=limit * 800)
    for tenant, hint, prompt, output in records:
        ledger.record(prompt, output, Origin(tenant, hint))
        assert ledger.num_bytes <= ledger.max_bytes
    prompts = [[], *([a] for a in range(3)), *([a, b] for a in range(3) for b in range(3))]
    found = [ledger.find(t, digest(p)) for t in "ab" for p in prompts]
    entries = [entry for held in found if held is not None for entry in held.entries]
    assert len(entries) == ledger.num_entries
    assert sum(entry.num_bytes for entry in entries) == ledger.num_bytes


@given(st.lists(st.lists(st.integers(0, 2**32 - 1))))
def test_a_digest_carried_on_is_that_of_the_whole(segments: list[list[int]]) -> None:
    state = IdsDigest()
    for segment in segments:
        before = state.copy()
        state.add(segment)
        before.add([1])  # a copy goes its own way
    assert state.value() == digest([i for segment in segments for i in segment])
    assert state.value() == digest(array("I", (i for s in segments for i in s)))  # type: ignore[arg-type]


def test_ten_thousand_conversations_take_no_more_memory_than_the_limit_says() -> None:
    limit = 4 * 1024 * 1024
    token_ids = list(range(10_200))
    gc.collect()
    tracemalloc.start()
    try:
        ledger = TurnLedger(max_bytes=limit)
        for number in range(10_000):
            output = token_ids[number : number + 200]
            ledger.record([number, 2], output, Origin("tenant", f"conversation {number}"))
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert limit * 0.9 < ledger.num_bytes <= limit
    assert held <= limit * 1.1
    assert ledger.num_entries + ledger.counters["evictions"] == 10_000


def test_threads_lose_no_turn_and_no_count() -> None:
    ledger = TurnLedger(max_bytes=100_000)

    def run(worker: int) -> None:
        for number in range(300):
            ledger.record([number % 7], [worker, number], Origin(f"{worker % 2}", None))
            found = ledger.find(f"{worker % 2}", digest([number % 7]))
            ledger.touch(entry.serial for entry in (found.entries if found else ()))
            ledger.count("hits")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))
    assert ledger.counters["hits"] == 2400
    assert ledger.num_entries + ledger.counters["evictions"] == 2400
    assert ledger.num_bytes <= 100_000
