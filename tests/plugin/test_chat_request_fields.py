"""What clients send is read whole from SGLang's request objects."""

import pytest

from sglang_kimi.chat import protocol, request_fields

protocol.widen()

from sglang.srt.entrypoints.openai.protocol import (  # noqa: E402
    ChatCompletionRequest,
    ResponsesRequest,
)

USER = {"role": "user", "content": "hi"}


def chat(**fields):
    return ChatCompletionRequest(**{"model": "m", "messages": [USER], **fields})


def test_tools_are_given_without_the_fields_that_sglang_adds():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"default": None}}}
    assert request_fields.tools_of(chat(tools=[tool])) == [tool]


def test_flat_tools_of_responses_become_nested_ones():
    request = ResponsesRequest(
        input="hi", tools=[{"type": "function", "name": "f", "parameters": {"type": "object"}}]
    )
    function = {"name": "f", "parameters": {"type": "object"}}
    assert request_fields.tools_of(request) == [{"type": "function", "function": function}]


@pytest.mark.parametrize(
    "fields",
    [
        {"chat_template_kwargs": {"thinking": False}},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"thinking": {"type": "disabled"}},
        {"thinking": False},
        {"reasoning_effort": "none"},
    ],
)
def test_every_way_to_ask_for_instant_mode_is_seen(fields):
    assert request_fields.asks_for_instant_mode(chat(**fields))


@pytest.mark.parametrize(
    "fields",
    [{}, {"thinking": {"type": "enabled", "keep": "all"}}, {"reasoning_effort": "medium"}],
)
def test_other_requests_are_not_taken_for_instant_mode(fields):
    assert not request_fields.asks_for_instant_mode(chat(**fields))


@pytest.mark.parametrize("fields", [{"continue_final_message": True}, {}])
def test_a_final_assistant_message_is_continued_when_asked(fields):
    final = {"role": "assistant", "content": "a", **({} if fields else {"partial": True})}
    assert request_fields.continues_final_message(chat(messages=[USER, final], **fields))
    assert not request_fields.continues_final_message(chat(messages=[final, USER], **fields))


def test_history_ids_travel_on_the_field_that_sglang_hands_on():
    request = chat(chat_template_kwargs={"thinking": True})
    assert request_fields.history_call_ids(request) == ()
    request_fields.remember_history(request, ["functions.f:0"])
    assert request_fields.history_call_ids(request) == ["functions.f:0"]
    assert request.chat_template_kwargs["thinking"] is True


def test_stop_strings_are_kept_where_the_client_wants_them():
    assert request_fields.stop_strings(chat(stop="a")) == ["a"]
    assert request_fields.stop_strings(chat(stop=["a", "b"])) == ["a", "b"]
    assert request_fields.stop_strings(chat(stop="a", no_stop_trim=True)) == []
