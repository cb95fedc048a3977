"""An answer that was recorded is read and encoded before the next prompt asks for it."""

import pytest

from sglang_kimi.codec import prefix_walk
from sglang_kimi.codec.ledger import Origin
from sglang_kimi.codec.vocabulary import Vocabulary

from .agent_loop import END, TOOLS, call, new_encoder, section

QUESTION = [{"role": "user", "content": "List the files."}]
ANSWER = "I look.</think>Here: " + section(call("functions.Bash:0")) + END


def answered(small: Vocabulary, text: str = ANSWER):
    """Return encoder, prompt and the answer's ids, recorded and placed."""
    encoder = new_encoder(small)
    encoded = encoder.encode(QUESTION, TOOLS, Origin("tenant", "hint"))
    output_ids = small.encode(text)
    encoder.ledger.record(
        encoded.token_ids, output_ids, Origin("tenant", "hint"), prompt_digest=encoded.digest
    )
    encoded.place.place_answer(output_ids)
    return encoder, encoded, output_ids


def returned(small: Vocabulary, output_ids: list[int], **changes):
    generated, turn = prefix_walk.read_complete(small, output_ids, tools=TOOLS, history_call_ids=[])
    assert generated.call_ids == tuple(c.id for c in turn.calls)
    calls = [
        {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
        for c in turn.calls
    ]
    message = {
        "role": "assistant",
        "content": turn.content,
        "reasoning_content": turn.thinking,
        "tool_calls": calls,
        **changes,
    }
    return [*QUESTION, message, {"role": "tool", "tool_call_id": calls[0]["id"], "content": "a b"}]


@pytest.fixture
def nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_, **__):
        raise AssertionError("the answer was parsed again")

    monkeypatch.setattr(prefix_walk, "read_generated", fail)


@pytest.mark.usefixtures("nothing_is_read")
def test_the_next_prompt_finds_the_answer_encoded(small):
    encoder, encoded, output_ids = answered(small)
    after = encoder.encode(returned(small, output_ids), TOOLS, Origin("tenant", "hint"))
    whole = encoded.token_ids + output_ids
    assert after.token_ids[: len(whole)] == whole
    assert after.num_cached_tokens >= len(whole)
    assert after.history_call_ids == ["functions.Bash:0"]


@pytest.mark.usefixtures("nothing_is_read")
def test_a_client_that_drops_the_thinking_finds_the_answer_read(small):
    encoder, encoded, output_ids = answered(small)
    messages = returned(small, output_ids, reasoning_content=None)
    after = encoder.encode(messages, TOOLS, Origin("tenant", "hint"))
    whole = encoded.token_ids + output_ids
    assert after.token_ids[: len(whole)] == whole
    assert after.num_restored_thinking_tokens > 0


def test_prompts_are_those_of_an_encoder_that_placed_nothing(small):
    encoder, encoded, output_ids = answered(small)
    other = new_encoder(small)
    other.encode(QUESTION, TOOLS, Origin("tenant", "hint"))
    other.ledger.record(encoded.token_ids, output_ids, Origin("tenant", "hint"))
    for changes in ({}, {"content": "I wrote this."}, {"reasoning_content": ""}, {"content": None}):
        messages = returned(small, output_ids, **changes)
        ours = encoder.encode(messages, TOOLS, Origin("tenant", "hint"))
        theirs = other.encode(messages, TOOLS, Origin("tenant", "hint"))
        assert ours.token_ids == theirs.token_ids
        assert ours.history_call_ids == theirs.history_call_ids


@pytest.mark.parametrize("text", ["cut in the thin", "closed</think>cut in the content"])
def test_an_answer_that_was_cut_is_left_for_the_next_prompt(small, text):
    encoder, encoded, output_ids = answered(small, text)
    before = encoder.num_cache_bytes
    encoded.place.place_answer(output_ids)
    assert encoder.num_cache_bytes == before


def test_an_answer_that_the_ledger_does_not_hold_is_passed_over(small):
    encoder = new_encoder(small)
    encoded = encoder.encode(QUESTION, TOOLS)
    before = encoder.num_cache_bytes
    encoded.place.place_answer(small.encode(ANSWER))
    encoded.place.place_answer([small.size + 5])
    assert encoder.num_cache_bytes == before


def test_an_answer_that_continues_a_message_has_no_place(small):
    messages = [*QUESTION, {"role": "assistant", "content": "So"}]
    encoded = new_encoder(small).encode(messages, TOOLS, continue_final_message=True)
    assert encoded.place is None
