"""Conversations with a ledger: what is found, what is respected, what can never happen."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sglang_kimi.codec.conversation import ConversationEncoder
from sglang_kimi.codec.ledger import Origin, TurnLedger, digest_of
from sglang_kimi.codec.messages import PromptError
from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.tool_call_ids import history_call_ids
from sglang_kimi.codec.vocabulary import Vocabulary

from .agent_loop import (
    END,
    FORGET,
    OUTPUT,
    REWRITES,
    TOOLS,
    AgentLoop,
    Message,
    call,
    new_encoder,
    plain,
    section,
)
from .test_prompt import message_lists

# Without anything in the ledger


def test_every_golden_prompt_has_the_ids_of_the_plain_encoder(
    real: Vocabulary, goldens: list[dict[str, Any]]
) -> None:
    codec = PromptCodec(real)
    encoder = ConversationEncoder(codec, TurnLedger())
    for golden in goldens:
        messages, tools = golden["messages"], golden["tools"]
        ids = codec.encode(messages, tools)
        for _ in range(2):
            encoded = encoder.encode(messages, tools)
            assert encoded.token_ids == ids, golden["name"]
            assert encoded.history_call_ids == history_call_ids(messages)
        assert encoded.num_spliced_tokens == encoded.num_restored_thinking_tokens == 0


@settings(deadline=None)
@given(messages=message_lists, length=st.integers(0, 5), other=message_lists)
def test_ids_are_those_of_the_plain_encoder_whatever_the_cache_holds(
    small: Vocabulary, messages: list[Message], length: int, other: list[Message]
) -> None:
    encoder = new_encoder(small)
    for history in (messages[:length], messages, other, messages[:length] + other, messages):
        encoded = encoder.encode(history, None)
        assert encoded.token_ids == plain(small, history, None)
        assert encoded.history_call_ids == history_call_ids(history)


foreign_ids = st.sampled_from(["x", "y", "functions.f:0", "functions.g:1", "functions.f:2"])
calls_and_results = st.lists(
    st.one_of(
        st.builds(
            lambda pairs: {
                "role": "assistant",
                "tool_calls": [
                    {"id": call_id, "function": {"name": name, "arguments": "{}"}}
                    for call_id, name in pairs
                ],
            },
            st.lists(st.tuples(foreign_ids, st.sampled_from("fg")), max_size=2),
        ),
        st.builds(
            lambda call_id: {"role": "tool", "tool_call_id": call_id, "content": "r"}, foreign_ids
        ),
    ),
    max_size=8,
)


@given(messages=calls_and_results)
def test_ids_are_counted_on_behind_a_history_from_the_cache(
    small: Vocabulary, messages: list[Message]
) -> None:
    encoder = new_encoder(small)
    for length in range(len(messages) + 1):
        encoded = encoder.encode(messages[:length], None)
        assert encoded.token_ids == plain(small, messages[:length], None)
        assert encoded.history_call_ids == history_call_ids(messages[:length])


def test_ids_are_counted_on_where_another_thread_was_quicker(
    small: Vocabulary, encoder: ConversationEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = {"name": "f", "arguments": "{}"}
    calls = [{"role": "assistant", "tool_calls": [{"id": i, "function": function}]} for i in "xyz"]
    encoder.encode(calls[:2], None)
    held = encoder.cache.find
    seen: list[Any] = []

    def find(parent: Any, key: Any) -> Any:  # the first message seems not to be there yet
        seen.append(key)
        return None if len(seen) == 2 else held(parent, key)

    monkeypatch.setattr(encoder.cache, "find", find)
    encoded = encoder.encode(calls, None)
    assert encoded.token_ids == plain(small, calls, None)
    assert encoded.num_cached_tokens > 0


def test_a_message_that_stays_open_is_another_than_the_same_one_closed(
    small: Vocabulary, encoder: ConversationEncoder
) -> None:
    messages = [{"role": "assistant", "content": "so far"}]
    for is_open in (True, False, True):
        encoded = encoder.encode(messages, None, continue_final_message=is_open)
        assert encoded.token_ids == PromptCodec(small).encode(
            messages, continue_final_message=is_open
        )


def test_long_runs_are_cut_at_the_same_places_with_and_without_the_cache(
    small: Vocabulary, encoder: ConversationEncoder
) -> None:
    messages = [{"role": "user", "content": "abc" * 9_000}, {"role": "user", "content": "abc" * 9}]
    for length in (1, 2):
        assert encoder.encode(messages[:length], None).token_ids == plain(
            small, messages[:length], None
        )


def test_long_runs_are_cut_behind_a_turn_put_back_as_behind_the_same_text(
    small: Vocabulary, loop: AgentLoop
) -> None:
    message = {"role": "assistant", "content": "abc" * 8_200 + "x"}
    canonical = plain(small, [*loop.messages, message])[len(plain(small, loop.messages)) :]
    loop.turn(canonical[: -len(first_opening(small))], FORGET)
    loop.messages[-1]["content"] = "abc" * 200
    assert loop.is_kept and loop.prompt().num_spliced_tokens
    assert loop.prompt().token_ids == plain(small, loop.messages)
    alone = plain(small, loop.messages[-1:], None)
    assert loop.prompt().token_ids[-len(alone) :] != alone  # a cut runs through it


def test_a_history_seen_before_is_not_tokenised_again(
    small: Vocabulary, encoder: ConversationEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [{"role": "user", "content": f"question {n}"} for n in range(5)]
    first = encoder.encode(messages, TOOLS)
    assert first.num_cached_tokens == 0
    texts: list[str] = []
    encode_text = Vocabulary.encode_text

    def spy(self: Vocabulary, text: str, *rest: Any) -> list[int]:
        texts.append(text)
        return encode_text(self, text, *rest)

    monkeypatch.setattr(Vocabulary, "encode_text", spy)
    again = encoder.encode([*messages, {"role": "user", "content": "new"}], TOOLS)
    assert again.num_cached_tokens == len(first.token_ids) - len(first_opening(small))
    assert "new" in "".join(texts) and "question" not in "".join(texts)


def first_opening(vocabulary: Vocabulary) -> list[int]:
    return vocabulary.encode("<|im_assistant|>assistant<|im_middle|><think>")


def test_what_the_prompt_does_not_show_does_not_cost_the_cache(
    encoder: ConversationEncoder,
) -> None:
    text = {"type": "text", "text": "hello"}
    first = encoder.encode([{"role": "user", "content": [text]}], TOOLS)
    marked = {"cache_control": {"type": "ephemeral"}, "content": [{**text, "cache_control": {}}]}
    again = encoder.encode([{**marked, "role": "user"}], TOOLS)
    assert again.token_ids == first.token_ids
    assert again.num_cached_tokens > len(first.token_ids) - 20


@pytest.mark.parametrize(
    ("messages", "tools", "options"),
    [
        (None, None, {}),
        ([{"role": "user"}, 5], None, {}),
        ([{"role": ""}], None, {}),
        ([{"role": "user", "content": 5}], None, {}),
        ([{"role": "user", "content": [{"text": 1}]}], None, {}),
        ([{"role": "user", "name": 5}], None, {}),
        ([{"role": "assistant", "reasoning": []}], None, {}),
        ([{"role": "assistant", "tool_calls": {}}], None, {}),
        ([{"role": "assistant", "tool_calls": [{"function": {"name": ""}}]}], None, {}),
        ([{"role": "tool", "tool_call_id": 5}], None, {}),
        ([{"role": "user"}], {}, {}),
        ([{"role": "user"}], ["f"], {}),
        ([{"role": "user"}], None, {"continue_final_message": True}),
    ],
)
def test_what_cannot_be_read_is_refused_as_by_the_plain_encoder(
    small: Vocabulary, encoder: ConversationEncoder, messages: Any, tools: Any, options: Any
) -> None:
    with pytest.raises(PromptError) as expected:
        PromptCodec(small).encode(messages, tools, **options)
    for _ in range(2):
        with pytest.raises(PromptError) as got:
            encoder.encode(messages, tools, **options)
        assert str(got.value) == str(expected.value)


def test_tools_of_unusual_types_are_declared_too(small: Vocabulary) -> None:
    from types import MappingProxyType

    tools = [MappingProxyType(TOOLS[0])]
    encoder = new_encoder(small)
    messages = [{"role": "user", "content": "u"}]
    for _ in range(2):
        assert encoder.encode(messages, tools).token_ids == plain(small, messages, TOOLS[:1])


# Turns that were generated here


def test_thinking_that_the_client_drops_is_restored_and_counted(loop: AgentLoop) -> None:
    loop.turn(OUTPUT, FORGET)
    prompt = loop.prompt()
    assert loop.is_kept
    assert prompt.num_spliced_tokens == len(loop.vocabulary.encode(OUTPUT))
    assert prompt.num_restored_thinking_tokens == len("secret\n")
    loop.messages[1]["reasoning_content"] = "secret"
    assert loop.prompt().num_restored_thinking_tokens == 0
    assert loop.is_kept


@pytest.mark.parametrize(
    "change",
    [
        {"content": "I list! "},
        {"content": "I list"},
        {"content": "I  list."},
        {"content": [{"type": "text", "text": "I list."}, {"type": "image"}]},
        {"reasoning_content": "other"},
        {"reasoning": "other"},
        {"tool_calls": None},
        {"tool_calls": ("Bash", '{"x":"rm"}')},
        {"tool_calls": ("Bash", '{"x":"ls","y":1}')},
        {"tool_calls": ("Bash", "{}")},
        {"tool_calls": ("Bash", "ls")},
        {"tool_calls": ("Read", '{"x":"ls"}')},
    ],
)
def test_what_the_client_changed_is_encoded_from_its_message(
    small: Vocabulary, loop: AgentLoop, change: dict[str, Any]
) -> None:
    message = loop.generate(OUTPUT)
    if isinstance(change.get("tool_calls"), tuple):
        name, arguments = change["tool_calls"]
        function = {"name": name, "arguments": arguments}
        change = {"tool_calls": [{"id": "functions.Bash:4", "function": function}]}
    loop.answer({**message, **change})
    assert loop.prompt().token_ids == plain(small, loop.messages)
    assert loop.prompt().num_spliced_tokens == 0
    assert loop.encoder.ledger.counters == {"misses": 1}


def test_turns_before_a_changed_one_stay_as_generated(small: Vocabulary, loop: AgentLoop) -> None:
    loop.turn(OUTPUT, FORGET)
    kept = loop.kept
    message = loop.generate("more</think>done" + END)
    loop.answer({**message, "content": "edited"})
    prompt = loop.prompt().token_ids
    assert prompt[: len(kept)] == kept
    assert "edited" in small.decode(prompt) and "more" in small.decode(prompt)


@pytest.mark.parametrize("is_open", [False, True])
def test_a_prompt_comes_with_the_digest_of_its_ids(loop: AgentLoop, is_open: bool) -> None:
    loop.turn(OUTPUT, FORGET)
    messages = [*loop.messages, {"role": "assistant", "content": "so far"}]
    encoded = loop.encoder.encode(messages, TOOLS, continue_final_message=is_open)
    assert encoded.digest == digest_of(encoded.token_ids)


def test_a_turn_is_found_only_behind_its_own_prefix(small: Vocabulary, loop: AgentLoop) -> None:
    loop.turn(OUTPUT, FORGET)
    for earlier in ({"role": "user", "content": "other"}, {"role": "system", "content": "do it"}):
        messages = [earlier, *loop.messages[1:]]
        encoded = loop.encoder.encode(messages, TOOLS)
        assert encoded.token_ids == plain(small, messages)
    assert loop.encoder.encode(loop.messages, TOOLS[:1]).num_spliced_tokens == 0


def test_a_turn_recorded_after_its_message_was_encoded_is_found(
    small: Vocabulary, loop: AgentLoop
) -> None:
    prompt = loop.prompt().token_ids
    loop.answer(FORGET(loop.generate(OUTPUT)))
    fresh = new_encoder(small)
    assert fresh.encode(loop.messages, TOOLS).num_spliced_tokens == 0
    fresh.ledger.record(prompt, small.encode(OUTPUT), Origin())
    assert fresh.encode(loop.messages, TOOLS).token_ids == loop.prompt().token_ids


def test_a_second_turn_behind_the_same_prompt_is_found_too(loop: AgentLoop) -> None:
    first = loop.generate(OUTPUT)
    loop.answer(FORGET(first))
    changed = [*loop.messages]
    changed[1] = {**changed[1], "content": "other words"}
    assert loop.encoder.encode(changed, TOOLS).num_spliced_tokens == 0
    loop.messages = loop.messages[:1]
    loop.generate(OUTPUT.replace("I list.", "other words"))
    assert loop.encoder.encode(changed, TOOLS).num_spliced_tokens > 0


def test_what_comes_behind_a_stop_token_is_not_put_back(small: Vocabulary, loop: AgentLoop) -> None:
    """A request with ignore_eos goes on, and its client sees nothing of that."""
    loop.turn(f"t</think>answer{END}junk{END}", FORGET)
    text = small.decode(loop.prompt().token_ids)
    assert f"<think>t</think>answer{END}<|im_user|>" in text


def test_a_turn_with_ids_that_no_prompt_can_hold_is_encoded_from_its_message(
    small: Vocabulary, loop: AgentLoop
) -> None:
    ids = [small.size + 5, *small.encode(f"</think>answer{END}")]
    loop.turn(ids, FORGET)
    assert loop.prompt().token_ids == plain(small, loop.messages)


def test_results_answer_the_ids_that_the_model_wrote(small: Vocabulary, loop: AgentLoop) -> None:
    two = "</think>" + section(call("functions.Read:5"), call("functions.Bash:2")) + END
    message = loop.generate(two)
    ids = ("toolu_b", "toolu_a")
    for entry, call_id in zip(message["tool_calls"], ids, strict=True):
        entry["id"] = call_id
    loop.messages += [message]
    loop.messages += [
        {"role": "tool", "tool_call_id": call_id, "content": f"of {call_id}"}
        for call_id in ("toolu_a", "toolu_b")
    ]
    text = small.decode(loop.prompt().token_ids)
    assert "## Return of functions.Bash:2\nof toolu_a" in text
    assert "## Return of functions.Read:5\nof toolu_b" in text
    assert loop.prompt().history_call_ids == ["functions.Read:5", "functions.Bash:2"]


def test_a_name_of_our_own_making_excludes_no_turn(small: Vocabulary) -> None:
    encoder = new_encoder(small)
    first = AgentLoop(encoder, small, origin=Origin("t", "made up", is_hint_given=False))
    first.generate(OUTPUT)
    later = AgentLoop(encoder, small, origin=Origin("t", "another", is_hint_given=False))
    later.answer(FORGET(first.shown))
    assert "secret" in small.decode(later.prompt().token_ids)


def test_a_look_alike_of_another_conversation_is_not_taken_where_the_own_turn_is_gone(
    small: Vocabulary,
) -> None:
    encoder = new_encoder(small)
    other = AgentLoop(encoder, small, origin=Origin("t", "other"))
    other.generate(OUTPUT)
    own = AgentLoop(encoder, small, origin=Origin("t", "own"))
    own.answer(FORGET(other.shown))  # as if the ledger had put this conversation's turn out
    encoded = own.prompt()
    assert encoded.num_spliced_tokens == 0
    assert "secret" not in small.decode(encoded.token_ids)


def test_a_result_without_an_id_answers_the_call_without_one(
    small: Vocabulary, loop: AgentLoop
) -> None:
    message = loop.generate(OUTPUT)
    del message["tool_calls"][0]["id"]
    loop.messages += [message, {"role": "tool", "content": "r"}]
    assert loop.is_kept
    assert "## Return of functions.Bash:4\nr" in small.decode(loop.prompt().token_ids)


def test_the_next_foreign_call_is_counted_on_from_the_models_own_index(
    small: Vocabulary, loop: AgentLoop
) -> None:
    loop.turn(OUTPUT, REWRITES["ids like call_"])
    loop.prompt()  # so that the cache holds it
    function = {"name": "Read", "arguments": "{}"}
    foreign = {"role": "assistant", "tool_calls": [{"id": "call_z", "function": function}]}
    loop.messages += [foreign, {"role": "tool", "tool_call_id": "call_z", "content": "r"}]
    for _ in range(2):  # encoded, then from the cache
        encoded = loop.prompt()
        assert encoded.history_call_ids == ["functions.Bash:4", "functions.Read:5"]
        assert "## Return of functions.Read:5\nr" in small.decode(encoded.token_ids)
    loop.messages += [foreign, {"role": "tool", "tool_call_id": "call_z", "content": "r"}]
    assert loop.prompt().history_call_ids[-1] == "functions.Read:6"


def test_a_call_in_a_cut_turn_keeps_its_id_though_the_client_has_it_not(loop: AgentLoop) -> None:
    cut = "</think><|tool_calls_section_begin|>" + call("functions.Bash:0")
    cut += "<|tool_call_begin|>functions.Read:1<|tool_call_argument_begin|>{"
    message = loop.generate(cut, is_cut=True)
    message["tool_calls"].pop()
    loop.answer(message)
    loop.turn("</think>" + section(call("functions.Read:1")) + END, REWRITES["verbatim"])
    assert loop.prompt().history_call_ids == [
        f"functions.{i}" for i in ("Bash:0", "Read:1", "Read:2")
    ]


def test_thinking_in_the_content_of_a_client_that_asked_for_that_is_found(loop: AgentLoop) -> None:
    message = loop.generate("why</think>because" + END)
    loop.answer({"role": "assistant", "content": "why</think>because"})
    assert message["content"] == "because"
    assert loop.is_kept
