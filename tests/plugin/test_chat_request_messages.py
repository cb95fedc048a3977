"""A request's messages reach the codec as the client sent them, known ones unread."""

import pytest

from sglang_kimi.chat import protocol, request_messages, serving
from sglang_kimi.codec.message_images import ImagedMessages, kept_image
from sglang_kimi.codec.turns import read_turn

protocol.widen()

from sglang.srt.entrypoints.openai.protocol import ChatCompletionRequest  # noqa: E402

USER = {"role": "user", "content": "hi"}
CALL = {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.fixture(autouse=True)
def our_model_is_served(monkeypatch):
    monkeypatch.setattr(serving, "_is_active", True)


def chat(**fields):
    return ChatCompletionRequest(**{"model": "m", "messages": [USER], **fields})


def messages(*history):
    return request_messages.messages_of(chat(messages=list(history)))


def test_fields_that_sglang_does_not_know_reach_the_codec():
    history = {"role": "assistant", "content": "a", "reasoning": "r"}
    assert messages({**USER, "name": "Ann"}, {**history, "x": {"y": 1}}) == [
        {**USER, "name": "Ann"},
        history,
    ]


def test_absent_fields_stay_absent():
    assert messages({"role": "assistant", "content": None}) == [
        {"role": "assistant", "content": None}
    ]


def test_past_arguments_stay_the_clients_own_string():
    text = '{"a":1,  "a": 1e3, "b": broken'
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": text}}
    (message,) = messages({"role": "assistant", "tool_calls": [call]})
    assert message["tool_calls"] == [call]


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content"])
def test_reasoning_details_count_only_without_another_reasoning(key):
    details = [{"type": "reasoning.text", "text": "de"}, {"text": "tails"}, {"data": "x"}]
    plain = {"role": "assistant", "content": "a", "reasoning_details": details}
    assert messages(plain)[0]["reasoning_content"] == "details"
    assert "details" not in str(messages({**plain, key: "own"})[0])


def test_one_turn_that_responses_lists_apart_is_one_message_again():
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    text = {"role": "assistant", "content": "a", "reasoning_content": "r", "phase": "commentary"}
    (message,) = messages(text, {"role": "assistant", "tool_calls": [call]})
    assert (message["content"], message["tool_calls"]) == ("a", [call])


def test_two_assistant_messages_of_a_chat_client_stay_two():
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    text = {"role": "assistant", "content": "a"}
    assert len(messages(text, {"role": "assistant", "tool_calls": [call]})) == 2


def images(*history):
    return request_messages.conversation_of(chat(messages=list(history))).images


@pytest.mark.parametrize(
    "change",
    [
        {"content": "b"},
        {"content": None},
        {"content": [{"type": "text", "text": "a"}]},
        {"reasoning": "r"},
        {"reasoning_content": "r"},
        {"reasoning_details": [{"text": "r"}]},
        {"name": "n"},
        {"role": "system"},
        {"tool_calls": []},
        {"tool_calls": [{**CALL, "id": "y"}]},
        {"tool_calls": [CALL, CALL]},
        {"tool_calls": [{**CALL, "function": {"name": "g", "arguments": "{}"}}]},
        {"tool_calls": [{**CALL, "function": {"name": "f", "arguments": "{ }"}}]},
    ],
)
def test_messages_that_differ_have_other_images(change):
    message = {"role": "assistant", "content": "a", "tool_calls": [CALL]}
    one, other = images(message, {**message, **change})
    assert one == images(message)[0] != other


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": "1"}}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]},
        {"role": "user", "content": "a", "cache": {"length": 1}},
    ],
)
def test_a_message_that_equality_does_not_tell_is_read_each_time(message):
    (image,) = images(message)
    (read,) = messages(message)
    assert kept_image(image, read_turn(read, "messages[0]")) is None


def test_only_the_messages_that_are_asked_for_are_read(monkeypatch):
    conversation = request_messages.conversation_of(chat(messages=[USER, USER, USER]))
    read = []
    monkeypatch.setattr(request_messages, "message_of", read.append)
    assert isinstance(conversation, ImagedMessages)
    assert len(conversation) == 3 and not read
    _ = conversation[-1]
    assert len(read) == 1


def test_messages_that_are_joined_are_read():
    text = {"role": "assistant", "content": "a", "phase": "commentary"}
    history = [USER, text, {"role": "assistant", "tool_calls": [CALL]}]
    joined = request_messages.conversation_of(chat(messages=history))
    assert joined == messages(*history) and len(joined) == 2
