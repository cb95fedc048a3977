"""The next prompt begins with the last prompt and its output, whatever model and client do."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sglang_kimi.codec.ledger import Origin
from sglang_kimi.codec.vocabulary import Vocabulary

from .agent_loop import REWRITES, AgentLoop, call, new_encoder, section

END = "<|im_end|>"
BASH = "functions.Bash:0"

OUTPUTS = {
    "as rendered": "think</think>" + section(call(BASH, '{"x": "ls"}')) + END,
    "compact arguments": "think</think>" + section(call(BASH, '{"x":"ls","y":1}')) + END,
    "indented arguments": "t</think>" + section(call(BASH, '{\n  "x": "ls"\n}')) + END,
    "newline after the arguments": "t</think>" + section(call(BASH, '{"x": "ls"}\n')) + END,
    "escapes": "t</think>" + section(call(BASH, '{"x": "\\u00e9 \\/ \\ud83d\\ude00"}')) + END,
    "numbers": "t</think>" + section(call(BASH, '{"x": 1e3, "y": 0.10, "z": [30.0, -0]}')) + END,
    "an integer above 64 bit": "t</think>"
    + section(call(BASH, '{"x": 18446744073709551617}'))
    + END,
    "a huge exponent": "t</think>" + section(call(BASH, '{"x": 1e40, "y": 1E-7}')) + END,
    "a duplicate key": "t</think>" + section(call(BASH, '{"x": "a", "x": "b"}')) + END,
    "another index": "t</think>" + section(call("functions.Bash:7")) + END,
    "no functions. prefix": "t</think>" + section(call("Bash:0", '{"x": "ls"}')) + END,
    "a name only": "t</think>" + section(call("Bash", '{"x": "ls"}')) + END,
    "a foreign id": "t</think>" + section(call("call_Bash_3", '{"x": "ls"}')) + END,
    "two calls": "t</think>" + section(call(BASH), call("functions.Read:1")) + END,
    "newline between calls": "t</think>"
    + section(call(BASH), "\n", call("functions.Read:1"))
    + END,
    "the same call twice": "t</think>" + section(call(BASH), call(BASH)) + END,
    "newline after the section": "t</think>" + section(call(BASH)) + "\n" + END,
    "text after the section": "t</think>c " + section(call(BASH)) + " more" + END,
    "no end of the thinking": "thinking" + section(call(BASH)) + END,
    "a second opener": "<think>t</think>" + section(call(BASH)) + END,
    "the thinking opened again": "t</think>a<think>u</think>b" + END,
    "a second end of the thinking": "t</think>a</think>b" + END,
    "no section markers": "t</think>" + call(BASH) + END,
    "wrapped arguments": "t</think>" + section(call(BASH, '"{\\"x\\": \\"ls\\"}"')) + END,
    "no arguments": "t</think>" + section(call(BASH, "")) + END,
    "arguments that are no JSON": "t</think>" + section(call(BASH, '{"x": ls')) + END,
    "content before the call": "t\n</think>\n\nI list.\n\n" + section(call(BASH)) + END,
    "newlines before the call": "\nt\n</think>\n\n" + section(call(BASH)) + END,
    "an empty section": "t</think>c" + section() + END,
    "a plain answer": " t </think> answer\n" + END,
    "an empty answer": "</think>" + END,
    "only thinking": "t" + END,
    "another stop token": "t</think>answer[EOS]",
    "a stray marker": "t</think>an<|im_user|>swer" + END,
    "markers as text": None,
}
CUTS = {
    "in the thinking": "I thi",
    "behind the thinking": "t</think>",
    "in the content": "t</think>half an ans",
    "in a section": "t</think>c<|tool_calls_section_begin|>",
    "in an id": "t</think>c<|tool_calls_section_begin|><|tool_call_begin|>functions.Ba",
    "in the arguments": "t</think>" + section(call(BASH, '{"x": "l')).split("<|tool_call_end|>")[0],
    "in the second call's arguments": "t</think><|tool_calls_section_begin|>"
    + call(BASH)
    + "<|tool_call_begin|>functions.Read:1<|tool_call_argument_begin|>",
    "between calls": "t</think><|tool_calls_section_begin|>" + call(BASH),
    "behind the section": "t</think>" + section(call(BASH)),
    "behind a section in the thinking": "t" + section(call(BASH)),
}


def output_ids(vocabulary: Vocabulary, name: str) -> list[int]:
    if (output := OUTPUTS[name]) is not None:
        return vocabulary.encode(output)
    spelt = vocabulary.encode_text("</think> <|im_end|> <|tool_calls_section_begin|>")
    stop = vocabulary.control_id(END)
    return [*spelt, vocabulary.control_id("</think>"), *spelt, stop]


@pytest.mark.parametrize("rewrite", REWRITES)
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_turn_is_kept_to_the_last_token_whatever_equal_form_a_client_returns(
    small: Vocabulary, name: str, rewrite: str
) -> None:
    loop = AgentLoop(new_encoder(small), small)
    for _ in range(3):
        loop.turn(output_ids(small, name), REWRITES[rewrite])
        assert loop.is_kept
    assert loop.encoder.ledger.counters == {"hits": 3}


@pytest.mark.parametrize("rewrite", REWRITES)
@pytest.mark.parametrize("name", CUTS)
def test_a_cut_turn_is_kept_and_closed(small: Vocabulary, name: str, rewrite: str) -> None:
    loop = AgentLoop(new_encoder(small), small)
    loop.turn(small.encode(CUTS[name]), REWRITES[rewrite], is_cut=True)
    assert loop.is_kept
    rest = small.decode(loop.prompt().token_ids[len(loop.kept) :])
    closing = rest[: rest.index(END) + len(END)]
    turn = small.decode(loop.kept) + closing
    for begin, end in (("calls_section", "calls_section"), ("call", "call")):
        assert turn.count(f"<|tool_{begin}_begin|>") == turn.count(f"<|tool_{end}_end|>")
    assert turn.count("<|tool_call_begin|>") == turn.count("<|tool_call_argument_begin|>")
    assert "</think>" in turn or "<|tool_calls_section_end|>" in turn


@pytest.mark.parametrize(
    ("name", "closing"),
    [
        ("in the thinking", "</think><|im_end|>"),
        ("in the content", "<|im_end|>"),
        ("in a section", "<|tool_calls_section_end|><|im_end|>"),
        (
            "in an id",
            "<|tool_call_argument_begin|><|tool_call_end|><|tool_calls_section_end|><|im_end|>",
        ),
        ("in the arguments", "<|tool_call_end|><|tool_calls_section_end|><|im_end|>"),
        ("between calls", "<|tool_calls_section_end|><|im_end|>"),
        ("behind a section in the thinking", "<|im_end|>"),
    ],
)
def test_a_cut_turn_is_closed_with_what_is_missing_and_no_more(
    small: Vocabulary, name: str, closing: str
) -> None:
    loop = AgentLoop(new_encoder(small), small)
    loop.turn(small.encode(CUTS[name]), REWRITES["verbatim"], is_cut=True)
    rest = small.decode(loop.prompt().token_ids[len(loop.kept) :])
    assert rest.startswith((f"{closing}<|im_system|>tool", f"{closing}<|im_user|>user"))


def test_a_cut_call_that_an_api_could_not_show_is_kept(small: Vocabulary) -> None:
    """`/v1/messages` has no form for half an object: it leaves the call out, or shows `{}`."""
    for change in ("absent", "empty"):
        loop = AgentLoop(new_encoder(small), small)
        message = loop.generate(CUTS["in the second call's arguments"], is_cut=True)
        if change == "absent":
            message["tool_calls"].pop()
        else:
            message["tool_calls"][-1]["function"]["arguments"] = "{}"
        loop.answer(message)
        assert loop.is_kept, change


@pytest.mark.parametrize("num_unread", [1, 2, 3])
@pytest.mark.parametrize("name", ["in the thinking", "in the content", "in the arguments"])
def test_a_turn_whose_client_left_is_kept_as_far_as_it_was_generated(
    small: Vocabulary, name: str, num_unread: int
) -> None:
    loop = AgentLoop(new_encoder(small), small)
    loop.turn(CUTS[name], REWRITES["verbatim"], num_unread=num_unread)
    assert loop.is_kept


def test_a_split_token_pair_and_a_broken_character_are_kept(small: Vocabulary) -> None:
    ids = [*b"ab", *b"abc", 0xC3, *small.encode("</think>"), *b"ab\xe2\x82", *small.encode(END)]
    loop = AgentLoop(new_encoder(small), small)
    loop.turn(ids, REWRITES["no reasoning"])
    assert loop.is_kept


def test_mixed_turns_stay_kept_over_a_long_loop(small: Vocabulary) -> None:
    loop = AgentLoop(new_encoder(small), small)
    rewrites = itertools.cycle(REWRITES.values())
    for number, (name, rewrite) in enumerate(zip([*OUTPUTS] * 2, rewrites, strict=False)):
        loop.turn([*small.encode(f"{number}"), *output_ids(small, name)], rewrite)
        assert loop.is_kept, name
    prompt = loop.prompt()
    assert len(set(prompt.history_call_ids)) == len(prompt.history_call_ids)
    assert loop.encoder.ledger.counters == {"hits": 2 * len(OUTPUTS)}


texts = st.text(max_size=6)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        texts,
        st.integers(),
        st.integers(min_value=-(2**70), max_value=2**70),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(texts, inner, max_size=2)),
    max_leaves=4,
)
arguments = st.tuples(
    st.dictionaries(texts, values, max_size=3),
    st.sampled_from([None, 1]),
    st.booleans(),
)
calls = st.tuples(
    st.sampled_from(["functions.Bash", "functions.Read", "Bash", "functions.Other"]),
    st.integers(0, 4),
    arguments,
)
outputs = st.tuples(texts, st.booleans(), texts, st.lists(calls, max_size=3), texts)


def written(vocabulary: Vocabulary, output: Any) -> list[int]:
    """Write an output whose texts may spell control tokens, without making any of them."""
    import json

    thinking, has_end, content, made, tail = output
    ids = vocabulary.encode_text(thinking)
    ids += [vocabulary.control_id("</think>")] if has_end or not made else []
    ids += vocabulary.encode_text(content)
    if made:
        ids.append(vocabulary.control_id("<|tool_calls_section_begin|>"))
        for name, index, (value, indent, is_ascii) in made:
            ids.append(vocabulary.control_id("<|tool_call_begin|>"))
            ids += vocabulary.encode_text(f"{name}:{index}")
            ids.append(vocabulary.control_id("<|tool_call_argument_begin|>"))
            text = json.dumps(value, indent=indent, ensure_ascii=is_ascii)
            ids += vocabulary.encode_text(text)
            ids.append(vocabulary.control_id("<|tool_call_end|>"))
        ids.append(vocabulary.control_id("<|tool_calls_section_end|>"))
        ids += vocabulary.encode_text(tail)
    return [*ids, vocabulary.control_id(END)]


@settings(max_examples=150)
@given(
    turns=st.lists(
        st.tuples(outputs, st.sampled_from(sorted(REWRITES)), st.integers(0, 3)), max_size=4
    )
)
def test_every_prompt_begins_with_the_last_prompt_and_output(
    small: Vocabulary, turns: list[Any]
) -> None:
    loop = AgentLoop(new_encoder(small), small, origin=Origin("t"))
    for output, rewrite, num_cut in turns:
        ids = written(small, output)
        ids = ids[: max(len(ids) - num_cut, 1)]
        loop.turn(ids, REWRITES[rewrite], is_cut=num_cut > 0)
        assert loop.is_kept
    again = AgentLoop(new_encoder(small, max_cache_bytes=0), small, origin=Origin("t"))
    again.encoder.ledger = loop.encoder.ledger
    again.messages = loop.messages
    cold = again.prompt()
    warm = loop.prompt()
    assert cold.token_ids == warm.token_ids
    assert cold.history_call_ids == warm.history_call_ids
    assert (cold.num_spliced_tokens, cold.num_restored_thinking_tokens) == (
        warm.num_spliced_tokens,
        warm.num_restored_thinking_tokens,
    )
