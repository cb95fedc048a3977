"""A new turn costs what is new: what is tokenised and read again of a history is counted here."""

import json
from typing import Any

import pytest

from sglang_kimi.codec import prefix_walk
from sglang_kimi.codec.cuts import TextCuts
from sglang_kimi.codec.encoded_texts import EncodedTexts
from sglang_kimi.codec.ledger import Origin
from sglang_kimi.codec.message_images import ImagedMessages
from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.turns import Turn, read_turn
from sglang_kimi.codec.vocabulary import Vocabulary

from .agent_loop import END, REWRITES, TOOLS, AgentLoop, call, new_encoder, section

NUM_TURNS = 100


@pytest.fixture
def tokenised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    encode_text = Vocabulary.encode_text

    def spy(self: Vocabulary, text: str, *rest: Any) -> list[int]:
        texts.append(text)
        return encode_text(self, text, *rest)

    monkeypatch.setattr(Vocabulary, "encode_text", spy)
    return texts


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    places: list[str] = []

    def spy(message: Any, where: str) -> Turn:
        places.append(where)
        return read_turn(message, where)

    monkeypatch.setattr(prefix_walk, "read_turn", spy)
    return places


def afresh(loop: AgentLoop) -> None:
    """Let the history be objects of its own, as each request's are."""
    loop.messages = json.loads(json.dumps(loop.messages))


@pytest.mark.parametrize("rewrite", ["same", *sorted(REWRITES)])
def test_of_a_long_session_each_text_is_tokenised_and_each_message_read_once(
    small: Vocabulary, tokenised: list[str], read: list[str], rewrite: str
) -> None:
    loop = AgentLoop(new_encoder(small), small)
    for number in range(NUM_TURNS):
        calls = section(call(f"functions.Bash:{number}"))
        message = loop.generate(f"thought {number}</think>said {number}{calls}{END}")
        loop.answer(message if rewrite == "same" else REWRITES[rewrite](message))
        loop.messages[-1]["content"] = f"result <{number}>"
        afresh(loop)
        read.clear()
        assert loop.is_kept
        if rewrite != "arguments as an object":  # whose order of keys comparing does not see
            assert len(read) <= 2
    for number in range(NUM_TURNS):
        assert sum(f"result <{number}>" in text for text in tokenised) == 1
        assert not any(f"thought {number}" in text for text in tokenised)  # put back as generated


def test_a_foreign_session_is_tokenised_once_too(small: Vocabulary, tokenised: list[str]) -> None:
    encoder, messages = new_encoder(small), [{"role": "system", "content": "s"}]
    num_chars = 0
    for number in range(NUM_TURNS):
        messages.append({"role": "user", "content": f"question <{number}>"})
        encoder.encode(json.loads(json.dumps(messages)), TOOLS)
        messages.append({"role": "assistant", "content": f"answer <{number}>", "reasoning": "r"})
        num_chars += sum(len(str(message["content"])) for message in messages[-2:])
    sent = sum(map(len, tokenised))
    declaration = max(map(len, tokenised))
    assert sent < declaration + num_chars + 12 * 2 * NUM_TURNS  # names of roles, thinking


def test_a_changed_message_is_read_and_what_follows_is_encoded_behind_it(
    small: Vocabulary, read: list[str]
) -> None:
    encoder = new_encoder(small)
    messages = [{"role": "user", "content": f"question {number}"} for number in range(9)]
    encoder.encode(messages, None)
    messages[4] = {"role": "user", "content": "changed"}
    read.clear()
    assert encoder.encode(messages, None).token_ids == PromptCodec(small).encode(messages)
    assert read == [f"messages[{index}]" for index in range(4, 9)]


def test_two_forms_of_a_message_are_both_known_again(small: Vocabulary, read: list[str]) -> None:
    encoder = new_encoder(small)
    forms: list[dict[str, Any]] = [
        {"role": "user", "content": "hi"},
        {"role": "user", "content": "hi", "refusal": None},
    ]
    for message in forms:
        for _ in range(2):
            read.clear()
            encoder.encode([message], None)
        assert read == []


@pytest.mark.parametrize("arguments", [{"a": 1}, {"a": "x", "b": "y"}])
def test_arguments_that_are_equal_objects_but_other_texts_are_told_apart(
    small: Vocabulary, arguments: dict[str, Any]
) -> None:
    encoder = new_encoder(small)
    others = [arguments, dict(reversed(arguments.items())), {k: True for k in arguments}]
    for value in (*others, *others):
        function = {"name": "f", "arguments": value}
        messages = [{"role": "assistant", "tool_calls": [{"id": "x", "function": function}]}]
        assert encoder.encode(messages, None).token_ids == PromptCodec(small).encode(messages)


def test_a_message_that_changes_in_the_callers_hands_is_noticed(small: Vocabulary) -> None:
    encoder = new_encoder(small)
    function = {"name": "f", "arguments": "{}"}
    messages: list[dict[str, Any]] = [
        {"role": "assistant", "tool_calls": [{"id": "x", "function": function}]}
    ]
    encoder.encode(messages, None)
    function["arguments"] = '{"a":1}'
    assert encoder.encode(messages, None).token_ids == PromptCodec(small).encode(messages)


def test_images_stand_for_messages_and_new_ones_alone_are_read(small: Vocabulary) -> None:
    encoder = new_encoder(small)
    messages = [{"role": "user", "content": f"question {number}"} for number in range(5)]
    for length in range(1, 6):
        asked: list[int] = []

        def give(index: int, asked: list[int] = asked) -> dict[str, Any]:
            asked.append(index)
            return messages[index]

        images = [("user", message["content"]) for message in messages[:length]]
        encoded = encoder.encode(ImagedMessages(images, give), None)
        assert encoded.token_ids == PromptCodec(small).encode(messages[:length])
        assert asked == [length - 1]


def test_an_image_that_cannot_be_kept_costs_a_reading_and_nothing_else(small: Vocabulary) -> None:
    encoder = new_encoder(small)
    messages = [{"role": "user", "content": f"question {number}"} for number in range(3)]
    for _ in range(2):
        images = [object() for _ in messages]
        encoded = encoder.encode(ImagedMessages(images, messages.__getitem__), None)
        assert encoded.token_ids == PromptCodec(small).encode(messages)


def long_session(num_turns: int) -> list[dict[str, str]]:
    return [
        {"role": role, "content": f"{role} <{number}> " * 40}
        for number in range(num_turns)
        for role in ("user", "assistant")
    ]


def test_texts_behind_an_edited_message_are_not_tokenised_again(
    small: Vocabulary, tokenised: list[str]
) -> None:
    encoder, messages = new_encoder(small), long_session(10)
    encoder.encode(messages, TOOLS, Origin("t"))
    tokenised.clear()
    edited = [{"role": "user", "content": "edited"}, *messages[1:]]
    encoded = encoder.encode(edited, TOOLS, Origin("t"))
    assert sum(map(len, tokenised)) < 20 * len(messages)  # names of roles, no text of before
    assert encoded.token_ids == PromptCodec(small).encode(edited, TOOLS)


def test_a_tenants_texts_are_tokenised_for_each_tenant(
    small: Vocabulary, tokenised: list[str]
) -> None:
    encoder, messages = new_encoder(small), long_session(3)
    encoder.encode(messages, None, Origin("t"))
    tokenised.clear()
    encoder.encode(messages, None, Origin("u"))
    assert all(message["content"] in tokenised for message in messages)


def test_texts_that_are_remembered_stay_within_their_limit(small: Vocabulary) -> None:
    texts = EncodedTexts(small, 20_000)
    for number in range(100):
        text = f"{number} " * 200
        assert list(texts.encode("t", text, TextCuts())) == small.encode_text(text)
        assert 0 < texts.num_bytes <= 20_000


def test_a_remembered_text_is_counted_where_it_stands(small: Vocabulary) -> None:
    texts, text = EncodedTexts(small, 1_000_000), "x" * 24_000
    plain, remembered = TextCuts(), TextCuts()
    for _ in range(3):  # the second one crosses the cut
        wanted = small.encode_text(text, plain)
        assert list(texts.encode("t", text, remembered)) == wanted
