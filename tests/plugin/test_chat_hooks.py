"""Hooks on SGLang's handlers change what they must for our model, and nothing for others."""

import json
from types import SimpleNamespace

import msgspec
import pytest
from fastapi.responses import ORJSONResponse

from sglang_kimi.chat import protocol, refusal_hooks, request_hooks, response_hooks, serving
from sglang_kimi.chat.names import ENCODING, GRAMMAR_BACKEND

protocol.widen()

from sglang.srt.entrypoints.anthropic.protocol import AnthropicMessagesRequest  # noqa: E402
from sglang.srt.entrypoints.openai import sse_utils  # noqa: E402
from sglang.srt.entrypoints.openai.protocol import (  # noqa: E402
    ChatCompletionRequest,
    ChatCompletionStreamResponse,
    PromptTokensDetails,
    UsageInfo,
)

KIMI = SimpleNamespace(architectures=["KimiK25ForConditionalGeneration"])
OTHER = SimpleNamespace(architectures=["LlamaForCausalLM"])
USER = {"role": "user", "content": "hi"}


def handler(spec=ENCODING, config=KIMI, context_len=100):
    manager = SimpleNamespace(
        context_len=context_len,
        num_reserved_tokens=2,
        model_config=SimpleNamespace(hf_config=config),
    )
    return SimpleNamespace(chat_encoding_spec=spec, tokenizer_manager=manager)


@pytest.fixture
def served(monkeypatch):
    """Serve our model; the answer sets the grammar backend."""
    monkeypatch.setattr(serving, "_is_active", True)
    kernel = SimpleNamespace(grammar_backend=GRAMMAR_BACKEND)
    monkeypatch.setattr(request_hooks, "get_exec", lambda: SimpleNamespace(kernel=kernel))
    flags = SimpleNamespace(enable_strict_thinking=False)
    monkeypatch.setattr(request_hooks, "get_serving", lambda: flags)
    return kernel


def chat(**fields):
    return ChatCompletionRequest(**{"model": "m", "messages": [USER], **fields})


def sampling_params(request, constraint=None):
    """Build what SGLang's handler would, our hook around it."""
    return request_hooks._sampling_params(
        type(request).to_sampling_params,
        request,
        stop=[],
        model_generation_config={},
        tool_call_constraint=constraint,
    )


@pytest.mark.parametrize(("spec", "limit"), [(ENCODING, 100), (None, 900)])
def test_a_limit_over_the_context_is_lowered_before_it_is_validated(spec, limit):
    seen = []
    request = chat(max_completion_tokens=900)
    request_hooks._validate_chat_request(
        lambda _, r: seen.append(r.max_completion_tokens), handler(spec), request
    )
    assert seen == [limit]


@pytest.mark.parametrize(
    ("config", "num_input", "asked", "given"),
    [
        (KIMI, 10, 1000, 88),
        (KIMI, 10, 50, 50),
        (KIMI, 10, None, None),
        (KIMI, 98, 1000, 1000),  # no room at all: SGLang's refusal names both numbers
        (OTHER, 10, 1000, 1000),
    ],
)
def test_a_limit_over_the_room_behind_the_prompt_is_lowered(config, num_input, asked, given):
    manager = handler(config=config).tokenizer_manager
    obj = SimpleNamespace(sampling_params={"max_new_tokens": asked})
    request_hooks._limit_to_room(manager, obj, [0] * num_input)
    assert obj.sampling_params["max_new_tokens"] == given


def test_numbers_of_a_request_go_beside_the_clients_own_parameters(served):
    request = chat(max_thinking_tokens=5, custom_params={"mine": 1})
    request.chat_template_kwargs = {"kimi_history_call_ids": ["functions.f:3"]}
    params = sampling_params(request)
    assert params["custom_params"] == {
        "mine": 1,
        "thinking_budget": 5,
        "kimi_first_call_index": 4,
    }


def test_a_budget_that_the_grammar_backend_would_ignore_is_refused(served):
    served.grammar_backend = "xgrammar"
    assert sampling_params(chat())["custom_params"] is None
    with pytest.raises(ValueError, match=r"max_thinking_tokens: want .*kimi_k27.* got 'xgrammar'"):
        sampling_params(chat(max_thinking_tokens=5))


def test_another_models_parameters_are_left_alone():
    request = chat(max_thinking_tokens=-5, tool_grammar=5)
    assert sampling_params(request)["custom_params"] is None


def test_disabled_thinking_is_let_through_for_our_model_only():
    calls = []

    def switch(_, request, enabled):
        calls.append(enabled)

    request_hooks._switch_thinking(switch, handler(), chat(), False)
    request_hooks._switch_thinking(switch, handler(spec=None), chat(), False)
    assert calls == [False]


def test_our_field_and_past_arguments_survive_the_conversion_of_a_message(served):
    turn = [{"type": "tool_use", "id": "t", "name": "f", "input": {"ö": [1, 2]}}]
    call = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages_request = AnthropicMessagesRequest(
        model="m",
        max_tokens=5,
        messages=[USER, {"role": "assistant", "content": turn}],
        max_thinking_tokens=7,
    )
    chat_request = chat(messages=[USER, {"role": "assistant", "tool_calls": [call]}])
    anthropic = SimpleNamespace(openai_serving_chat=handler())
    request_hooks._carry_messages_fields(chat_request, anthropic, messages_request)
    assert chat_request.model_extra["max_thinking_tokens"] == 7
    assert chat_request.messages[1].tool_calls[0]["function"]["arguments"] == '{"ö": [1, 2]}'


@pytest.mark.parametrize(
    ("spec", "is_continued", "thinks"),
    [(ENCODING, False, True), (ENCODING, True, False), (None, True, False)],
)
def test_an_answer_thinks_but_where_it_goes_on_behind_the_thinking(spec, is_continued, thinks):
    last = {"role": "assistant", "content": "a", "partial": is_continued}
    request = chat(messages=[USER, last])
    assert request_hooks._thinks_always(False, handler(spec), request) is thinks


def test_a_budget_in_anthropics_field_is_ours_to_hold_and_not_the_hosts_to_warn_of(served):
    thinking = {"type": "enabled", "budget_tokens": 2048}
    messages_request = AnthropicMessagesRequest(
        model="m", max_tokens=5, messages=[USER], thinking=thinking
    )
    anthropic = SimpleNamespace(openai_serving_chat=handler())
    refusal_hooks._check_messages_request(anthropic, messages_request)
    assert messages_request.thinking.budget_tokens is None
    chat_request = chat()
    request_hooks._carry_messages_fields(chat_request, anthropic, messages_request)
    assert sampling_params(chat_request)["custom_params"]["thinking_budget"] == 2048


def test_cached_tokens_stand_at_the_top_of_usage_whole_and_streamed(served):
    usage = UsageInfo(prompt_tokens_details=PromptTokensDetails(cached_tokens=3))
    usage = response_hooks._add_cached_tokens(usage)
    assert usage.model_dump()["cached_tokens"] == 3
    chunk = ChatCompletionStreamResponse(id="x", model="m", choices=[], usage=usage)
    assert json.loads(chunk.model_dump_json())["usage"]["cached_tokens"] == 3


def test_usage_of_another_model_is_left_alone():
    usage = UsageInfo(prompt_tokens_details=PromptTokensDetails(cached_tokens=3))
    assert "cached_tokens" not in response_hooks._add_cached_tokens(usage).model_dump()


def test_errors_are_nested_for_our_model_only():
    flat = {"object": "error", "message": "no", "type": "BadRequest", "param": None, "code": 400}
    answer = ORJSONResponse(content=flat, status_code=400)
    nested = response_hooks._nest_error(answer, handler())
    assert nested.status_code == 400
    assert json.loads(nested.body)["error"]["message"] == "no"
    assert response_hooks._nest_error(nested, handler()).body == nested.body
    assert response_hooks._nest_error(answer, handler(config=OTHER)) is answer


def error_of(message, status=400):
    flat = {"message": message, "type": "x", "param": None, "code": status}
    answer = ORJSONResponse(content=flat, status_code=status)
    return json.loads(response_hooks._nest_error(answer, handler()).body)["error"]


def test_an_error_names_its_field_and_a_prompt_without_room_has_openais_code():
    error = error_of("messages[3].content: want a text, got int 5 ")
    assert error["message"] == "messages[3].content: want a text, got int 5"
    assert (error["param"], error["type"]) == ("messages[3].content", "invalid_request_error")
    assert error_of("prompt is too long: 9 tokens > 7 maximum")["code"] == "context_length_exceeded"
    assert error_of("no such model", 404) == {
        "message": "no such model", "type": "x", "param": None, "code": 404
    }  # fmt: skip


def test_schemas_are_checked_by_us_and_put_back_after_the_hosts_own_checks(served):
    seen = []
    draft4 = {"type": "object", "properties": {"n": {"minimum": 0, "exclusiveMinimum": True}}}
    request = chat(tools=[{"type": "function", "function": {"name": "f", "parameters": draft4}}])

    def validate(_, request):
        seen.append(request.tools[0].function.parameters)

    assert request_hooks._validate_chat_request(validate, handler(), request) is None
    assert (seen, request.tools[0].function.parameters) == ([None], draft4)
    request_hooks._validate_chat_request(validate, handler(spec=None), request)
    assert seen[1] == draft4


def test_a_broken_schema_is_refused_before_the_hosts_checks(served):
    broken = {"type": "object", "properties": {"a": {"type": 5}}}
    request = chat(tools=[{"type": "function", "function": {"name": "f", "parameters": broken}}])
    wrong = request_hooks._validate_chat_request(None, handler(), request)
    assert wrong.startswith("tools[0].function.parameters: want a JSON schema")
    assert "/properties/a/type: got 5" in wrong


@pytest.mark.parametrize(
    ("finish", "left"),
    [("length", ["functions.f:0"]), ("tool_calls", ["functions.f:0", "functions.f:1"])],
)
def test_a_cut_call_is_left_out_of_a_message(finish, left):
    def call(index, arguments):
        return SimpleNamespace(
            id=f"functions.f:{index}", function=SimpleNamespace(arguments=arguments)
        )

    message = SimpleNamespace(tool_calls=[call(0, '{"a": 1}'), call(1, '{"a": ')])
    choice = SimpleNamespace(finish_reason=finish, message=message)
    anthropic = SimpleNamespace(openai_serving_chat=handler())
    response_hooks._convert_chat_response(
        lambda *_: None, anthropic, SimpleNamespace(choices=[choice])
    )
    assert [call.id for call in message.tool_calls] == left


def test_sglangs_own_chunks_get_both_names_of_the_reasoning(monkeypatch):
    monkeypatch.setattr(sse_utils, "StreamDelta", sse_utils.StreamDelta)
    response_hooks.extend_stream_chunks()
    response_hooks.extend_stream_chunks()
    for text in (None, "r"):
        line = sse_utils.build_sse_content("x", 1, "m", 0, reasoning_content=text)
        delta = msgspec.json.decode(line.removeprefix("data: "))["choices"][0]["delta"]
        assert delta == {"reasoning_content": text, "reasoning": text}
