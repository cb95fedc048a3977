"""Conversations with a ledger: who gets whose turns, open last messages, plain text, limits."""

import gc
import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sglang_kimi.codec.conversation import ConversationEncoder
from sglang_kimi.codec.ledger import Origin, TurnLedger
from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary

from .agent_loop import (
    END,
    FORGET,
    OUTPUT,
    REWRITES,
    TOOLS,
    AgentLoop,
    call,
    new_encoder,
    plain,
    section,
)
from .conftest import CONTROL_OFFSETS

# Whose turn it is


def test_tenants_never_meet(small: Vocabulary, encoder: ConversationEncoder) -> None:
    theirs = AgentLoop(encoder, small, origin=Origin("a", "h"))
    theirs.turn(OUTPUT, FORGET)
    for tenant in ("b", "", "a "):
        ours = AgentLoop(encoder, small, origin=Origin(tenant, "h"))
        ours.messages = theirs.messages
        encoded = ours.prompt()
        assert encoded.token_ids == plain(small, theirs.messages)
        assert encoded.num_cached_tokens == 0  # not even the time it takes tells
    assert theirs.is_kept


NUM_LOOPS = 64


def equal_loops(
    encoder: ConversationEncoder, vocabulary: Vocabulary, hints: bool
) -> list[AgentLoop]:
    """Run loops whose prompts and calls are the same, each with thoughts of its own, in step."""
    loops = [
        AgentLoop(encoder, vocabulary, origin=Origin("t", f"loop {n}" if hints else None))
        for n in range(NUM_LOOPS)
    ]
    for step in range(3):
        outputs = [
            f"secret {n}.{step}</think>" + section(call(f"functions.Bash:{step}")) + END
            for n in range(NUM_LOOPS)
        ]
        messages = [each.generate(text) for each, text in zip(loops, outputs, strict=True)]
        for each, message in zip(loops, messages, strict=True):
            each.answer(FORGET(message))
    return loops


def test_equal_loops_with_hints_keep_their_own_thoughts(
    small: Vocabulary, encoder: ConversationEncoder
) -> None:
    for number, each in enumerate(equal_loops(encoder, small, hints=True)):
        assert each.is_kept
        text = small.decode(each.prompt().token_ids)
        assert [f"secret {number}.{step}" in text for step in range(3)] == [True] * 3
        assert text.count("secret") == 3
    assert encoder.ledger.counters["ambiguous"] == 0


def test_equal_loops_without_hints_are_not_guessed(
    small: Vocabulary, encoder: ConversationEncoder
) -> None:
    for each in equal_loops(encoder, small, hints=False):
        assert "secret" not in small.decode(each.prompt().token_ids)
        assert each.prompt().token_ids == plain(small, each.messages)
    assert encoder.ledger.counters["ambiguous"] > 0


def test_equal_loops_whose_clients_send_the_thinking_need_no_hints(
    small: Vocabulary, encoder: ConversationEncoder
) -> None:
    loops = [AgentLoop(encoder, small) for _ in range(5)]
    messages = [each.generate(f"  own {n}</think>hi" + END) for n, each in enumerate(loops)]
    for each, message in zip(loops, messages, strict=True):
        each.answer(REWRITES["trimmed texts"](message))
        assert each.is_kept


def test_turns_with_equal_ids_are_one_whoever_generated_them(
    small: Vocabulary, encoder: ConversationEncoder
) -> None:
    for hint in (None, "x", "y"):
        AgentLoop(encoder, small, origin=Origin("", hint)).generate(OUTPUT)
    loop = AgentLoop(encoder, small, origin=Origin("", "z"))
    loop.turn(OUTPUT, FORGET)
    assert loop.is_kept
    assert encoder.ledger.counters == {"hits": 1}


# The last message gone on with


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ("why</think>half ", "why</think>half "),
        ("why</think>half" + END, "why</think>half"),
        ("why", "why</think>"),
    ],
)
def test_a_generated_turn_can_be_continued(
    small: Vocabulary, loop: AgentLoop, output: str, shown: str
) -> None:
    message = loop.generate(output, is_cut=not output.endswith(END))
    messages = [*loop.messages, FORGET(message)]
    encoded = loop.encoder.encode(messages, TOOLS, continue_final_message=True)
    assert small.decode(encoded.token_ids).endswith(f"<think>{shown}")
    closed = loop.encoder.encode(messages, TOOLS).token_ids
    assert closed[: len(encoded.token_ids)] == encoded.token_ids


@pytest.mark.parametrize("begun", ["cut here", "written by the client"])
def test_a_turn_that_was_continued_is_put_back_whole(
    small: Vocabulary, loop: AgentLoop, begun: str
) -> None:
    message = {"role": "assistant", "reasoning": "why", "content": "half a "}
    if begun == "cut here":
        message = FORGET(loop.generate("why\n</think>half a ", is_cut=True))
    for rest in ("sent", "ence" + section(call("functions.Bash:0")) + END):
        prompt = loop.encoder.encode(
            [*loop.messages, message], TOOLS, continue_final_message=True
        ).token_ids
        output = small.encode(rest)
        loop.encoder.ledger.record(prompt, output, loop.origin)
        loop.kept = prompt + output
        text = rest.split("<|")[0]
        message = {**message, "content": message["content"] + text}
    function = {"name": "Bash", "arguments": "{}"}
    loop.answer(FORGET(message) | {"tool_calls": [{"id": "x", "function": function}]})
    assert loop.is_kept
    assert small.decode(loop.prompt().token_ids).count("half a sentence") == 1


def test_a_turn_with_an_open_section_is_continued_from_its_message(
    small: Vocabulary, loop: AgentLoop
) -> None:
    message = loop.generate("why</think>half<|tool_calls_section_begin|>", is_cut=True)
    messages = [*loop.messages, message]
    encoded = loop.encoder.encode(messages, TOOLS, continue_final_message=True)
    assert encoded.token_ids == PromptCodec(small).encode(
        messages, TOOLS, continue_final_message=True
    )


# Text is text


fields_of_a_conversation = st.lists(
    st.one_of(st.sampled_from(sorted(CONTROL_OFFSETS)), st.text(max_size=4)), min_size=9, max_size=9
)


@settings(max_examples=100)
@given(texts=fields_of_a_conversation, rewrite=st.sampled_from(sorted(REWRITES)))
def test_no_text_gives_a_control_token_with_a_full_ledger(
    small: Vocabulary, texts: list[str], rewrite: str
) -> None:
    def conversation(words: list[str]) -> list[int]:
        system, user, thought, said, argument, result, call_id, tool, described = words
        loop = AgentLoop(new_encoder(small), small)
        loop.tools = [
            *TOOLS,
            {"type": "function", "function": {"name": f"t{tool}", "description": described}},
        ]
        loop.messages = [
            {"role": "system", "content": system},
            {"role": "user", "name": f"n{user}", "content": user},
        ]
        ids = small.encode_text(thought) + small.encode("</think>") + small.encode_text(said)
        ids += small.encode("<|tool_calls_section_begin|><|tool_call_begin|>")
        ids += small.encode("functions.Bash:0<|tool_call_argument_begin|>")
        ids += small.encode_text(json.dumps({"x": argument}))
        ids += small.encode("<|tool_call_end|><|tool_calls_section_end|>" + END)
        message = REWRITES[rewrite](loop.generate(ids))
        message["tool_calls"][0]["id"] = call_id
        loop.answer(message)
        loop.messages[-1]["content"] = result
        loop.messages.append({"role": "tool", "tool_call_id": f"lost{call_id}", "content": result})
        encoded = loop.prompt()
        assert loop.is_kept and encoded.num_spliced_tokens
        return [i for i in encoded.token_ids if i >= small.num_ranks]

    assert conversation(texts) == conversation(["x"] * 9)


# Limits


def test_the_cache_stays_within_its_limit_and_gives_the_same_ids(small: Vocabulary) -> None:
    limit = 200_000
    encoder = new_encoder(small, max_cache_bytes=limit)
    for number in range(200):
        loop = AgentLoop(encoder, small)
        loop.messages[0]["content"] = f"{number} " * 20
        loop.turn(OUTPUT, FORGET)
        assert loop.is_kept
        assert encoder.num_cache_bytes <= limit
    assert len(encoder.cache) > 10


def test_the_cache_takes_no_more_memory_than_its_limit_says(small: Vocabulary) -> None:
    limit = 2_000_000
    encoder = ConversationEncoder(
        PromptCodec(small), TurnLedger(max_bytes=100_000), max_cache_bytes=limit
    )
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(120):  # equal prompts: every turn recorded makes all choose anew
            loop = AgentLoop(encoder, small, origin=Origin("t", f"{number}"))
            for step in range(4):
                loop.turn(f"{number}</think>{'answer ' * 40}{step}{END}", FORGET)
        del loop
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert limit * 0.8 < encoder.num_cache_bytes <= limit
    assert held <= limit * 1.1 + 100_000


def test_a_conversation_in_use_stays_cached_while_others_come_and_go(small: Vocabulary) -> None:
    encoder = new_encoder(small, max_cache_bytes=100_000)
    active = [{"role": "user", "content": f"mine {n}"} for n in range(8)]
    encoder.encode(active, TOOLS)
    for number in range(100):
        encoder.encode([{"role": "user", "content": f"other {number}"}], None)
        if number % 5 == 0:
            assert encoder.encode(active, TOOLS).num_cached_tokens > 0
    assert encoder.cache.num_bytes > 50_000


def test_of_a_conversation_that_is_put_out_the_end_goes_first(small: Vocabulary) -> None:
    encoder = new_encoder(small, max_cache_bytes=50_000)
    mine = [{"role": "user", "content": f"mine {n}"} for n in range(16)]
    whole = encoder.encode(mine, None)
    for number in range(12):
        encoder.encode([{"role": "user", "content": f"other {number}"}], None)
    again = encoder.encode(mine, None)
    assert 0 < again.num_cached_tokens < len(whole.token_ids) - 20


def test_a_turn_in_use_stays_in_the_ledger_while_others_come_and_go(small: Vocabulary) -> None:
    encoder = ConversationEncoder(PromptCodec(small), TurnLedger(max_bytes=20_000))
    loop = AgentLoop(encoder, small)
    loop.turn(OUTPUT, FORGET)
    for number in range(100):
        encoder.ledger.record([number], [1] * 50, Origin())
        assert loop.is_kept
    assert encoder.ledger.counters["evictions"] > 50


def test_threads_get_what_one_gets(small: Vocabulary) -> None:
    encoder = ConversationEncoder(
        PromptCodec(small), TurnLedger(max_bytes=200_000), max_cache_bytes=300_000
    )  # the cache drops prefixes all the time, the ledger holds the turns of all loops

    def run(number: int) -> bool:
        loop = AgentLoop(encoder, small, origin=Origin("t", f"{number}"))
        loop.messages[0]["content"] = f"task {number % 4}"
        kept = True
        for step in range(5):
            text = f"thought {number}</think>" + section(call(f"functions.Bash:{step}")) + END
            loop.turn(text, FORGET)
            kept = kept and loop.is_kept
        return kept and f"thought {number}" in small.decode(loop.prompt().token_ids)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(24)))
    assert encoder.num_cache_bytes <= 300_000
