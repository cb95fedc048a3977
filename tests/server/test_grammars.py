"""Budgets, formats and calls are held together on a real server, and what is not held is said."""

import json
import urllib.request

import pytest

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.bench.scripted_agent import PROCESSOR

from .conftest import Client

CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "hi"}
FORMAT = {"type": "array", "items": {"const": 7}, "minItems": 2, "maxItems": 2}
UNIQUE = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": UNIQUE}}
BUDGETS = {
    "max_thinking_tokens": {"max_thinking_tokens": 3},
    "thinking_token_budget": {"thinking_token_budget": 3},
    "thinking": {"thinking": {"type": "enabled", "budget_tokens": 3}},
    "custom_params": {"custom_params": {"thinking_budget": 3}},
}


@pytest.mark.parametrize("name", BUDGETS)
def test_the_thinking_ends_at_the_budget_under_every_name(client, name):
    answer = client.post(CHAT, {"model": "m", "messages": [USER], "max_tokens": 9, **BUDGETS[name]})
    details = answer["usage"]["completion_tokens_details"]
    assert details["reasoning_tokens"] <= 4  # its end included


@pytest.mark.parametrize("tools", [[], [TOOL]])
def test_a_format_is_held_beside_tools_in_chat_and_responses(client, tools):
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": FORMAT}}
    body = {"model": "m", "messages": [USER], "max_tokens": 60, "max_thinking_tokens": 2}
    answer = client.post(CHAT, {**body, "tools": tools, "response_format": schema})
    message = answer["choices"][0]["message"]
    if not message.get("tool_calls"):
        assert json.loads(message["content"]) == [7, 7]
    with urllib.request.urlopen(f"{client.url}/v1/models", timeout=30) as response:
        model = json.load(response)["data"][0]["id"]
    flat = [{"type": "function", **tool["function"]} for tool in tools]
    text = {"format": {"type": "json_schema", "name": "x", "schema": FORMAT}}
    body = {"model": model, "input": "hi", "max_output_tokens": 60, "max_thinking_tokens": 2}
    answer = client.post("/v1/responses", {**body, "tools": flat, "text": text})
    for item in answer["output"]:
        if item["type"] == "message":
            assert json.loads(item["content"][0]["text"]) == [7, 7]


def test_a_grammar_that_cannot_be_compiled_is_refused_with_its_reason(client):
    body = {"model": "m", "messages": [USER], "max_tokens": 5, "regex": "a(b"}
    status, answer = client.try_post(CHAT, body)
    assert status == 400
    assert "regex: can't be compiled" in answer["error"]["message"]


@pytest.mark.parametrize("name", ["kimi_k27", "kimi_k2"])
def test_the_text_endpoints_are_ours_under_both_names(client, name):
    call = (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0"
        "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>"
    )
    text = f"thought{call}"  # a section ends the thinking, which SGLang's parser does not know
    body = {"text": text, "reasoning_parser": name}
    answer = client.post("/separate_reasoning", body)
    assert (answer["reasoning_text"], answer["text"]) == ("thought", call)
    body = {"text": call, "tools": [TOOL], "tool_call_parser": name}
    (found,) = client.post("/parse_function_call", body)["calls"]
    assert (found["name"], found["parameters"]) == ("f", "{}")


def test_other_parser_names_stay_the_hosts(client):
    body = {"text": "a</think>b", "reasoning_parser": "deepseek-r1"}
    answer = client.post("/separate_reasoning", body)
    assert (answer["reasoning_text"], answer["text"]) == ("a", "b")


@pytest.fixture(scope="module")
def scripted(scripted_server, mini_checkpoint):
    """Return what posts a request and makes the model say a text."""
    vocabulary = Vocabulary.load(mini_checkpoint)
    client = Client(scripted_server.url)

    def say(text, path=CHAT, **fields):
        script = {"script": vocabulary.encode(text)}
        body = {
            "model": "m",
            "messages": [USER],
            "max_tokens": 100,
            "tools": [TOOL],
            "custom_logit_processor": PROCESSOR,
            "custom_params": script,
            **fields,
        }
        if fields.get("stream"):
            return list(client.stream(path, body))
        return client.post(path, body)

    say.url = scripted_server.url
    return say


def call_of(arguments):
    return (
        "hm</think><|tool_calls_section_begin|><|tool_call_begin|>functions.f:0"
        f"<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"
        "<|tool_calls_section_end|><|im_end|>"
    )


def metric(url, name):
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


WARNING = "tool_calls[0] (f): breaks the schema's uniqueItems at /a: 1 comes twice"


@pytest.mark.slow
def test_a_call_that_breaks_what_is_not_held_comes_with_a_warning(scripted):
    answer = scripted(call_of('{"a": [1, 1]}'))
    assert answer["warnings"] == [WARNING]
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    chunks = scripted(call_of('{"a": [1, 1]}'), stream=True)
    assert [chunk["warnings"] for chunk in chunks if "warnings" in chunk] == [[WARNING]]
    assert "warnings" not in scripted(call_of('{"a": [1, 2]}'))


@pytest.mark.slow
def test_the_operator_sees_misses_repairs_and_the_cache(scripted):
    scripted(call_of('{"a": [1, 1]}'))
    assert metric(scripted.url, 'sglang_kimi_schema_misses_total{keyword="uniqueItems"}') >= 1
    assert metric(scripted.url, 'sglang_kimi_schema_relaxed_total{keyword="uniqueItems"}') == 1
    for name in ("entries", "bytes", "limit_bytes", "misses_total"):
        assert metric(scripted.url, f"sglang_kimi_grammar_cache_{name}") > 0
    name = 'sglang_kimi_output_repairs_total{kind="undeclared_name"}'
    before = metric(scripted.url, name)
    text = call_of("{}").replace("functions.f", "functions.unknown")
    answer = scripted(text, tool_grammar="off")
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "unknown"
    assert metric(scripted.url, name) == before + 1


@pytest.mark.slow
def test_a_tool_section_in_the_thinking_ends_the_count_of_reasoning_tokens(scripted):
    text = call_of("{}").replace("hm</think>", "hm")
    usage = scripted(text)["usage"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] < 4
    usage = scripted(text, stream=True, stream_options={"include_usage": True})[-1]["usage"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] < 4
