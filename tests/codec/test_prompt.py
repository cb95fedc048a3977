"""Conversations to prompts (FORMAT section 3): goldens, rules, errors, properties."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sglang_kimi.codec import cuts
from sglang_kimi.codec.messages import PromptError
from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary

from .conftest import CONTROL_OFFSETS

Message = dict[str, Any]
GENERATION_PROMPT = "<|im_assistant|>assistant<|im_middle|><think>"


@pytest.fixture(scope="session")
def codec(small: Vocabulary) -> PromptCodec:
    return PromptCodec(small)


def text(codec: PromptCodec, *messages: Message, **options: Any) -> str:
    """Return the prompt's text without the generation prompt."""
    prompt = codec.decode(codec.encode(messages, **options))
    assert prompt.endswith(GENERATION_PROMPT)
    return prompt.removesuffix(GENERATION_PROMPT)


def body(codec: PromptCodec, message: Message, **options: Any) -> str:
    return text(codec, message, **options).split("<|im_middle|>", 1)[1].removesuffix("<|im_end|>")


def call(arguments: Any, call_id: str = "functions.f:0") -> Message:
    return {
        "role": "assistant",
        "tool_calls": [{"id": call_id, "function": {"name": "f", "arguments": arguments}}],
    }


def test_every_golden_prompt_has_equal_ids(real: Vocabulary, goldens: list[dict[str, Any]]) -> None:
    codec = PromptCodec(real)
    for golden in goldens:
        ids = codec.encode(golden["messages"], golden["tools"], tool_call_ids="verbatim")
        assert codec.decode(ids) == golden["prompt_text"], golden["name"]
        if not golden["name"].startswith("special_tokens_in_text"):
            assert ids == golden["prompt_ids"], golden["name"]


def test_control_texts_in_goldens_stay_text(
    real: Vocabulary, goldens: list[dict[str, Any]]
) -> None:
    """These goldens record what the release does; ours differs there on purpose."""
    codec = PromptCodec(real)
    chosen = [g for g in goldens if g["name"].startswith("special_tokens_in_text")]
    assert chosen
    for golden in chosen:
        plain = [message | {"content": ""} for message in golden["messages"]]
        frame = [i for i in codec.encode(plain, golden["tools"]) if i >= real.num_ranks]
        ids = codec.encode(golden["messages"], golden["tools"])
        assert [i for i in ids if i >= real.num_ranks] == frame


def test_opener_follows_the_role_and_the_name_takes_the_roles_place(codec: PromptCodec) -> None:
    frames = {
        ("user", None): "<|im_user|>user",
        ("assistant", None): "<|im_assistant|>assistant",
        ("system", None): "<|im_system|>system",
        ("developer", None): "<|im_system|>developer",
        ("User", None): "<|im_system|>User",
        ("user", "alice"): "<|im_user|>alice",
        ("tool", "Bash"): "<|im_system|>Bash",
        ("user", ""): "<|im_user|>user",
    }
    for (role, name), opening in frames.items():
        message = {"role": role, "name": name, "content": "x"}
        assert text(codec, message).startswith(f"{opening}<|im_middle|>"), (role, name)


def test_turns_follow_each_other_without_anything_between_and_no_default_system_message(
    codec: PromptCodec,
) -> None:
    assert text(codec, {"role": "user", "content": "a"}, {"role": "user", "content": "b"}) == (
        "<|im_user|>user<|im_middle|>a<|im_end|><|im_user|>user<|im_middle|>b<|im_end|>"
    )
    assert text(codec) == ""


@pytest.mark.parametrize(
    ("message", "thinking"),
    [
        ({}, ""),
        ({"reasoning_content": " r\n"}, " r\n"),
        ({"reasoning": "new", "reasoning_content": "old"}, "new"),
        ({"reasoning": "", "reasoning_content": "old"}, ""),
        ({"reasoning": None, "reasoning_content": "old"}, "old"),
        ({"reasoning_content": None}, ""),
        ({"content": "<think>x</think>"}, ""),
    ],
)
def test_every_assistant_turn_shows_its_thinking(
    codec: PromptCodec, message: Message, thinking: str
) -> None:
    content = message.get("content", "")
    shown = body(codec, {"role": "assistant", **message})
    assert shown == f"<think>{thinking}</think>{content}"


def test_thinking_of_other_roles_is_not_shown(codec: PromptCodec) -> None:
    assert body(codec, {"role": "user", "reasoning": "r", "content": "c"}) == "c"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (None, ""),
        (" keep \n", " keep \n"),
        ([], ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "other"}, {"text": "t"}, {"type": "text", "text": None}], "t"),
        (
            [{"type": "image_url", "image_url": {"url": "u"}}, {"type": "text", "text": "?"}],
            "<|media_begin|>image<|media_content|><|media_pad|><|media_end|>\n?",
        ),
        ([{"type": "image"}], "<|media_begin|>image<|media_content|><|media_pad|><|media_end|>\n"),
        ([{"type": "video_url"}], "<|kimi_k25_video_placeholder|>\n"),
    ],
)
def test_content_of_each_form(codec: PromptCodec, content: Any, shown: str) -> None:
    for role in ("user", "system", "strange"):
        assert body(codec, {"role": role, "content": content}) == shown
    assert body(codec, {"role": "tool", "tool_call_id": "i", "content": content}) == (
        f"## Return of i\n{shown}"
    )


def test_an_image_is_control_tokens_and_its_literal_is_text(codec: PromptCodec) -> None:
    pad = codec.vocabulary.control_id("<|media_pad|>")
    picture = {"role": "user", "content": [{"type": "image"}]}
    assert codec.encode([picture]).count(pad) == 1
    assert codec.encode([{"role": "user", "content": "<|media_pad|>"}]).count(pad) == 0


def test_adjacent_texts_are_encoded_as_one(codec: PromptCodec) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "bc"}]
    whole = codec.vocabulary.rank(b"abc")
    assert whole in codec.encode([{"role": "user", "content": parts}])


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"a":1}', '{"a":1}'),
        ("", ""),
        ("not json", "not json"),
        ({"b": "é<&>'", "a": [1, None]}, '{"b": "é<&>\'", "a": [1, null]}'),
        ({}, "{}"),
        (None, "{}"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_arguments_are_verbatim_if_text_and_json_otherwise(
    codec: PromptCodec, arguments: Any, shown: str
) -> None:
    assert body(codec, call(arguments)) == (
        "<think></think><|tool_calls_section_begin|><|tool_call_begin|>functions.f:0"
        f"<|tool_call_argument_begin|>{shown}<|tool_call_end|><|tool_calls_section_end|>"
    )


@pytest.mark.parametrize("tool_calls", [None, []])
def test_no_calls_print_no_section(codec: PromptCodec, tool_calls: Any) -> None:
    message = {"role": "assistant", "content": "c", "tool_calls": tool_calls}
    assert body(codec, message) == "<think></think>c"


def test_ids_are_the_clients_or_native(codec: PromptCodec) -> None:
    history = [call("{}", "call_x"), {"role": "tool", "tool_call_id": "call_x", "content": "r"}]
    verbatim = text(codec, *history, tool_call_ids="verbatim")
    assert verbatim.count("call_x") == 2
    assert text(codec, *history) == verbatim.replace("call_x", "functions.f:0")


def test_a_result_that_names_no_call_is_still_rendered(codec: PromptCodec) -> None:
    assert body(codec, {"role": "tool", "content": "r"}) == "## Return of \nr"


def test_tools_are_declared_before_any_message(codec: PromptCodec) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    shown = text(codec, {"role": "system", "content": "s"}, tools=tools)
    assert shown.startswith("<|im_system|>tool_declare<|im_middle|># Tools\n")
    assert "}\n<|im_end|><|im_system|>system<|im_middle|>s" in shown
    for nothing in (None, []):
        assert "tool_declare" not in text(codec, {"role": "user", "content": "u"}, tools=nothing)


def test_a_final_message_to_continue_stays_open_with_its_thinking_closed(
    codec: PromptCodec,
) -> None:
    messages = [
        {"role": "user", "content": "u"},
        {"role": "assistant", "reasoning": "r", "content": "so far"},
    ]
    ids = codec.encode(messages, continue_final_message=True)
    assert codec.decode(ids) == (
        "<|im_user|>user<|im_middle|>u<|im_end|>"
        "<|im_assistant|>assistant<|im_middle|><think>r</think>so far"
    )


def test_segments_are_the_parts_of_the_prompt(codec: PromptCodec) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    messages = [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]
    segments = codec.encode_segments(messages, tools)
    assert [segment.message_index for segment in segments] == [None, 0, 1, None]
    assert codec.decode(segments[2].token_ids).startswith("<|im_assistant|>")
    assert codec.decode(segments[3].token_ids) == GENERATION_PROMPT
    joined = [token_id for segment in segments for token_id in segment.token_ids]
    assert joined == codec.encode(messages, tools)


USER = {"role": "user", "content": "u"}


@pytest.mark.parametrize(
    ("messages", "tools", "message"),
    [
        (None, None, "messages: want a list of objects, got nothing"),
        ("hi", None, "messages: want a list of objects, got str 'hi'"),
        ([USER, 5], None, r"messages\[1\]: want an object, got int 5"),
        ([{"content": "x"}], None, r"messages\[0\]\.role: want a role .*, got nothing"),
        ([{"role": ""}], None, r"messages\[0\]\.role: .* got str ''"),
        ([{"role": "user", "content": 5}], None, r"\.content: want a text, a list .* got int 5"),
        ([{"role": "user", "content": {}}], None, r"\.content: .* got dict {}"),
        ([{"role": "user", "content": ["a"]}], None, r"content\[0\]: want an object with a type"),
        ([{"role": "user", "content": [{"text": 1}]}], None, r"content\[0\]\.text: want a text"),
        ([{"role": "user", "name": 5}], None, r"messages\[0\]\.name: want a text or null"),
        ([{"role": "assistant", "reasoning": []}], None, r"\.reasoning: want a text or null"),
        ([{"role": "assistant", "tool_calls": {}}], None, r"tool_calls: want a list of objects"),
        ([{"role": "assistant", "tool_calls": ["f"]}], None, r"tool_calls\[0\]: want an object"),
        ([{"role": "assistant", "tool_calls": [{}]}], None, r"tool_calls\[0\]\.function: want an"),
        ([{"role": "tool", "tool_call_id": 5}], None, r"\.tool_call_id: want a text or null"),
        ([USER], {}, "tools: want a list of objects, got dict"),
        ([USER], ["f"], r"tools\[0\]: want an object, got str 'f'"),
    ],
)
def test_what_cannot_be_read_is_refused_by_message_and_field(
    codec: PromptCodec, messages: Any, tools: Any, message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        codec.encode(messages, tools)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages: want an assistant message to continue"),
        ([USER], r"messages\[0\]\.role: want assistant"),
        ([USER, call("{}")], r"messages\[1\]\.tool_calls: want none"),
    ],
)
def test_only_the_content_of_an_assistant_message_can_be_continued(
    codec: PromptCodec, messages: list[Message], message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        codec.encode(messages, continue_final_message=True)


def test_values_nested_too_deeply_are_refused(codec: PromptCodec) -> None:
    deep: Any = {"type": "object"}
    for _ in range(5000):
        deep = {"type": "array", "items": deep}
    tools = [{"type": "function", "function": {"name": "f", "parameters": deep}}]
    with pytest.raises(PromptError, match="tools: want schemas nested less deeply"):
        codec.encode([USER], tools)
    with pytest.raises(PromptError, match=r"function\.arguments: want a text or a JSON value"):
        codec.encode([call(deep)])


texts = st.one_of(st.text(max_size=12), st.sampled_from(sorted(CONTROL_OFFSETS)))
contents = st.one_of(
    st.none(),
    texts,
    st.lists(
        st.one_of(
            st.builds(lambda t: {"type": "text", "text": t}, texts),
            st.just({"type": "image"}),
            st.just({"type": "video"}),
        ),
        max_size=3,
    ),
)
tool_call = st.builds(
    lambda call_id, name, arguments: {
        "id": call_id,
        "function": {"name": name, "arguments": arguments},
    },
    st.one_of(texts, st.sampled_from(["functions.f:0", "x"])),
    st.sampled_from(["f", "g", "<think>"]),
    texts,
)
message_lists = st.lists(
    st.one_of(
        st.builds(
            lambda content, reasoning, calls: {
                "role": "assistant",
                "content": content,
                "reasoning_content": reasoning,
                "tool_calls": calls,
            },
            contents,
            texts,
            st.lists(tool_call, max_size=2),
        ),
        st.builds(
            lambda role, name, content: {
                "role": role,
                "name": name,
                "content": content,
                "tool_call_id": "x",
            },
            st.sampled_from(["user", "system", "tool", "developer", "<|im_end|>"]),
            st.one_of(st.none(), texts),
            contents,
        ),
    ),
    max_size=5,
)


@settings(deadline=None)
@given(messages=message_lists, length=st.integers(0, 5))
def test_a_prefix_of_the_history_has_a_prefix_of_the_ids(
    codec: PromptCodec, messages: list[Message], length: int
) -> None:
    segments = codec.encode_segments(messages)
    shorter = codec.encode_segments(messages[:length])
    assert shorter[:-1] == segments[: len(shorter) - 1]


@settings(deadline=None)
@given(messages=message_lists)
def test_the_clients_texts_never_give_a_control_token(
    codec: PromptCodec, messages: list[Message]
) -> None:
    """The same conversation with every text emptied has the same control tokens."""

    def emptied(value: Any) -> Any:
        if isinstance(value, dict):
            kept = ("role", "type", "id", "tool_call_id")
            return {k: v if k in kept else emptied(v) for k, v in value.items()}
        if isinstance(value, list):
            return [emptied(item) for item in value]
        return "x" if isinstance(value, str) else value

    def controls(of: list[Message]) -> list[int]:
        return [i for i in codec.encode(of) if i >= codec.vocabulary.num_ranks]

    assert controls(messages) == controls(emptied(messages))


@settings(deadline=None)
@given(messages=message_lists)
def test_ids_are_those_of_the_whole_text_where_no_text_spells_a_control_token(
    codec: PromptCodec, messages: list[Message]
) -> None:
    spelled = json.dumps(messages, ensure_ascii=False)
    if any(control in spelled for control in CONTROL_OFFSETS):
        return
    ids = codec.encode(messages)
    assert codec.vocabulary.encode(codec.decode(ids)) == ids


def test_long_runs_are_cut_as_in_the_whole_text(
    codec: PromptCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuts, "_RUN_CHARS", 60)
    content = "abc" * 50 + " "
    ids = codec.encode([{"role": "user", "content": content}])
    assert codec.vocabulary.encode(codec.decode(ids)) == ids
    # 28 characters of the frame count too: the first cut falls after 32 characters of content.
    start = ids.index(codec.vocabulary.control_id("<|im_middle|>")) + 1
    tokens = [codec.vocabulary.token_bytes(i) for i in ids[start : start + 13]]
    assert tokens == [b"abc"] * 10 + [b"ab", b"c", b"abc"]


def test_a_control_token_is_never_cut(codec: PromptCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The release's tokenizer loses a control text that a cut runs through."""
    monkeypatch.setattr(cuts, "_RUN_CHARS", 35)
    ids = codec.encode([{"role": "user", "content": "abc"}])
    end = codec.vocabulary.control_id("<|im_end|>")
    assert end in ids
    assert end not in codec.vocabulary.encode(codec.decode(ids))
