"""One ledger's file and several real processes: what one records, every other goes on with."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sglang_kimi.codec.disk_ledger import DiskLedger
from sglang_kimi.codec.ledger import digest_of
from sglang_kimi.codec.ledger_file import LedgerFile
from sglang_kimi.codec.vocabulary import Vocabulary

from ..json_process import JsonProcess
from .agent_loop import END, FORGET, OUTPUT, TOOLS, AgentLoop, plain

OUTPUTS = (OUTPUT, "no thought is lost</think>words" + END, "cut in its thinking")

PROGRAM = Path(__file__).with_name("encoder_process.py")
Start = Callable[[], JsonProcess]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def start(write_tokenizer: Callable[[], Path], path: Path) -> Iterator[Start]:
    """Return what starts a process on the one file."""
    tokenizer = write_tokenizer()
    with ExitStack() as stack:
        yield lambda: stack.enter_context(JsonProcess(PROGRAM, tokenizer, path))


@pytest.mark.parametrize("recorders", ["first", "second", "either"])
def test_two_processes_build_the_same_ids_whichever_recorded_a_turn(
    start: Start, loop: AgentLoop, small: Vocabulary, recorders: str
) -> None:
    processes = start(), start()
    reused: list[int] = []
    for number in range(12):
        if number:
            loop.answer(FORGET(loop.shown))
        for process in processes:
            process.tell("encode", loop.messages, TOOLS)
        prompt, other = (process.answer() for process in processes)
        assert prompt == other
        assert prompt[: len(reused)] == reused
        output = OUTPUTS[number % 3].replace("ls", f"ls {number}")
        loop.generate(output, is_cut=not output.endswith(END))  # what the client gets for it
        recorder = {"first": 0, "second": 1, "either": number % 2}[recorders]
        processes[recorder].ask("record", prompt, small.encode(output))
        reused = prompt + small.encode(output)
    assert prompt != plain(small, loop.messages)
    assert [process.ask("errors") for process in processes] == [0, 0]


def test_a_new_process_splices_what_one_that_died_had_recorded(
    start: Start, loop: AgentLoop, small: Vocabulary
) -> None:
    kept = loop.prompt().token_ids + small.encode(OUTPUT)
    dying = start()
    dying.ask("record", loop.prompt().token_ids, small.encode(OUTPUT))
    dying.die()
    loop.turn(OUTPUT, FORGET)
    following = start().ask("encode", loop.messages, TOOLS)
    assert following[: len(kept)] == kept


def test_processes_at_the_same_conversations_lose_and_cross_nothing(
    start: Start, path: Path
) -> None:
    num_processes, num_rounds, num_prompts = 4, 200, 10
    processes = [start() for _ in range(num_processes)]
    for process in processes:
        process.ask("errors")  # it is up, so that all write at once
    for worker, process in enumerate(processes):
        process.tell("mix", worker, num_rounds, num_prompts)
    assert [process.answer() for process in processes] == [0] * num_processes
    ledger = DiskLedger(LedgerFile(path))
    for prompt in range(num_prompts):
        for tenant in (0, 1):
            found = ledger.find(str(tenant), digest_of([prompt]))
            assert found is not None
            assert sorted(list(entry.token_ids) for entry in found.entries) == [
                [tenant, prompt, worker, number]
                for worker in range(num_processes)
                for number in range(num_rounds)
                if (number % num_prompts, number // num_prompts % 2) == (prompt, tenant)
            ]
    ledger.close()


def test_a_continued_turn_is_whole_for_the_other_process(
    start: Start, loop: AgentLoop, small: Vocabulary
) -> None:
    first, second = start(), start()
    first.ask("record", loop.prompt().token_ids, small.encode("thought</think>so f" + END))
    message = {"role": "assistant", "content": "so f"}
    begun = first.ask("encode", [*loop.messages, message], TOOLS, True)
    first.ask("record", begun, small.encode("ar" + END))
    history = [*loop.messages, {**message, "content": "so far"}, {"role": "user", "content": "on"}]
    following = second.ask("encode", history, TOOLS)
    assert following[: len(begun)] == begun
    assert "thought</think>so far" in small.decode(following)
