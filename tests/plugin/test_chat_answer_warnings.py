"""A call that breaks what its grammar could not hold is given with a warning, in all three APIs."""

import asyncio
import json
from types import SimpleNamespace

import orjson
import pytest
from prometheus_client import REGISTRY

from sglang_kimi.chat import adapter as adapter_module
from sglang_kimi.chat import answer_warnings, protocol, response_hooks, serving
from sglang_kimi.chat.adapter import KimiChatAdapter
from sglang_kimi.chat.answer_warnings import Call, warnings_of
from sglang_kimi.chat.names import ENCODING, GRAMMAR_BACKEND
from sglang_kimi.codec.vocabulary import Vocabulary

protocol.widen()

from sglang.srt.entrypoints.anthropic.protocol import AnthropicMessagesResponse  # noqa: E402
from sglang.srt.entrypoints.openai.protocol import (  # noqa: E402
    ChatCompletionRequest,
    ChatCompletionResponse,
    ResponsesRequest,
    ResponsesResponse,
    UsageInfo,
)

UNIQUE = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": UNIQUE}}
BROKEN = '{"a": [1, 1]}'
WARNING = "tool_calls[0] (f): breaks the schema's uniqueItems at /a: 1 comes twice"


@pytest.fixture(autouse=True)
def our_grammars_are_in_use(monkeypatch):
    monkeypatch.setattr(serving, "_is_active", True)
    kernel = SimpleNamespace(grammar_backend=GRAMMAR_BACKEND)
    monkeypatch.setattr(answer_warnings, "get_exec", lambda: SimpleNamespace(kernel=kernel))
    return kernel


def chat(**fields):
    user = {"role": "user", "content": "hi"}
    return ChatCompletionRequest(**{"model": "m", "messages": [user], "tools": [TOOL], **fields})


def misses(keyword="uniqueItems"):
    name = "sglang_kimi_schema_misses_total"
    return REGISTRY.get_sample_value(name, {"keyword": keyword}) or 0


def test_a_miss_is_named_and_counted():
    before = misses()
    assert warnings_of(chat(), [Call("f", '{"a": [1]}'), Call("f", "{}")], None) == []
    assert misses() == before
    assert warnings_of(chat(), [Call("f", BROKEN)], None) == [WARNING]
    assert misses() == before + 1


@pytest.mark.parametrize("name", ["unknown", "f"])
def test_calls_that_were_not_held_are_not_looked_at(name):
    request = chat(tool_grammar="off") if name == "f" else chat()
    assert warnings_of(request, [Call(name, BROKEN)], None) == []


def test_another_grammar_backend_has_gaps_of_its_own(our_grammars_are_in_use):
    our_grammars_are_in_use.grammar_backend = "xgrammar"
    assert warnings_of(chat(), [Call("f", BROKEN)], None) == []


def test_an_answer_in_a_format_is_looked_at_too():
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": UNIQUE}}
    text = {"format": {"type": "json_schema", "name": "x", "schema": UNIQUE}}
    want = ["content: breaks the schema's uniqueItems at /a: 1 comes twice"]
    assert warnings_of(chat(response_format=form), [], BROKEN) == want
    assert warnings_of(ResponsesRequest(input="hi", text=text), [], BROKEN) == want
    assert warnings_of(chat(), [], BROKEN) == []


def test_what_could_not_be_checked_is_said_and_counted():
    before = misses("unchecked")
    schema = {"type": "object", "properties": {"a": {"$ref": "http://localhost:1/x"}}}
    request = chat(tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}])
    (warning,) = warnings_of(request, [Call("f", '{"a": 1}')], None)
    assert warning.startswith("tool_calls[0] (f): not checked for $ref, as it refers to another")
    assert misses("unchecked") == before + 1


def chat_response():
    call = {"id": "functions.f:0", "function": {"name": "f", "arguments": BROKEN}}
    message = {"role": "assistant", "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    response = ChatCompletionResponse(id="x", model="m", choices=[choice], usage=UsageInfo())
    handler = SimpleNamespace(chat_encoding_spec=ENCODING)
    return response_hooks._complete_chat_response(response, handler, chat(), [], 0)


def test_a_whole_chat_answer_has_its_warnings_beside_the_choices():
    assert json.loads(chat_response().model_dump_json())["warnings"] == [WARNING]


def test_a_whole_message_keeps_them():
    def convert(_, response):
        return AnthropicMessagesResponse(content=[], model="m")

    anthropic = SimpleNamespace(openai_serving_chat=SimpleNamespace(chat_encoding_spec=ENCODING))
    message = response_hooks._convert_chat_response(convert, anthropic, chat_response())
    assert message.model_dump(exclude_none=True)["warnings"] == [WARNING]


def test_an_answer_of_the_responses_api_has_them_in_its_last_event_or_body():
    request = ResponsesRequest(input="hi", tools=[{"type": "function", **TOOL["function"]}])
    item = {"type": "function_call", "name": "f", "arguments": BROKEN, "call_id": "c"}
    response = ResponsesResponse(model="m", status="completed", output=[item])
    response_hooks._warn_of_response(response, request, {}, output=response.output, status="x")
    assert json.loads(response.model_dump_json())["warnings"] == [WARNING]


@pytest.fixture
def stream(mini_checkpoint, monkeypatch):
    flags = SimpleNamespace(incremental_streaming_output=False)
    monkeypatch.setattr(adapter_module, "get_serving", lambda: flags)
    vocabulary = Vocabulary.load(mini_checkpoint)
    hooks = SimpleNamespace(tool_call_parsing_active=lambda request: True)
    adapter = KimiChatAdapter(vocabulary, hooks, owns_output=True)
    section, begin = "<|tool_calls_section_begin|>", "<|tool_call_begin|>"
    argument, end = "<|tool_call_argument_begin|>", "<|tool_call_end|>"
    pieces = ("hm", "</think>", section, begin, "functions.f:0", argument, '{"a": [1', ", 1]}", end)
    ids = [token for piece in pieces for token in vocabulary.encode(piece)]

    def lines():
        state = {}
        for count, finish in ((5, None), (len(ids), {"type": "stop"})):
            content = {
                "output_ids": ids,
                "meta_info": {"id": "x", "completion_tokens": count, "finish_reason": finish},
            }
            yield from adapter.stream_chat_chunks(
                content=content,
                index=0,
                request=chat(),
                created=1,
                parser_dict=state,
                has_tool_calls={},
                choice_logprobs=None,
                finish_reason_type=finish and finish["type"],
                usage=None,
            )

    return lines


def test_a_streamed_chat_answer_ends_with_its_warnings(stream):
    chunks = [orjson.loads(line.removeprefix("data: ")) for line in stream()]
    assert [chunk.get("warnings") for chunk in chunks[-2:]] == [None, [WARNING]]
    assert chunks[-1]["choices"][0]["delta"] == {}


def test_a_streamed_message_has_them_beside_the_reason_for_its_end(stream):
    async def generate(handler):
        for _ in stream():
            yield 'event: content_block_delta\ndata: {"type":"content_block_delta"}\n\n'
        yield 'event: message_delta\ndata: {"type":"message_delta"}\n\n'
        yield 'event: message_stop\ndata: {"type":"message_stop"}\n\n'

    async def events():
        return [event async for event in response_hooks._stream_messages(generate, None)]

    *_, delta, stop = asyncio.run(events())
    fields = {"type": "message_delta", "warnings": [WARNING]}
    assert delta == f"event: message_delta\ndata: {orjson.dumps(fields).decode()}\n\n"
    assert stop == 'event: message_stop\ndata: {"type":"message_stop"}\n\n'
