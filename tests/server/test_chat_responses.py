"""`/v1/responses` on a real server with random weights."""

import json
import urllib.request

import jsonschema
import pytest

SCHEMA = {
    "type": "object",
    "properties": {"path": {"type": "string"}},
    "required": ["path"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "name": "read", "parameters": SCHEMA}
PATH = "/v1/responses"


@pytest.fixture(scope="module")
def model(client):
    """Return the served name: this API refuses any other."""
    with urllib.request.urlopen(f"{client.url}/v1/models", timeout=30) as response:
        return json.load(response)["data"][0]["id"]


@pytest.fixture
def body(model):
    def make(**fields):
        base = {"model": model, "input": "hello", "max_output_tokens": 40}
        return {**base, "max_thinking_tokens": 6, **fields}

    return make


def items(answer, kind):
    return [item for item in answer["output"] if item["type"] == kind]


def test_an_answer_has_a_reasoning_item_and_a_message(client, body):
    answer = client.post(PATH, body(temperature=0))
    (reasoning,), (message,) = items(answer, "reasoning"), items(answer, "message")
    assert reasoning["content"][0]["text"]
    assert message["content"][0]["text"]
    assert answer["usage"]["output_tokens_details"]["reasoning_tokens"] > 0


def test_a_second_request_reports_its_cached_tokens(client, body):
    client.post(PATH, body(input="count me"))
    usage = client.post(PATH, body(input="count me"))["usage"]
    assert usage["input_tokens_details"]["cached_tokens"] == usage["input_tokens"] - 1


def test_a_stream_completes_with_the_whole_answers_items(client, body):
    whole = client.post(PATH, body(temperature=0))
    *_, last = client.stream(PATH, body(temperature=0, stream=True))
    for kind in ("reasoning", "message"):
        texts = [
            [part["text"] for item in items(answer, kind) for part in item["content"]]
            for answer in (whole, last["response"])
        ]
        assert texts[0] == texts[1]


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_required_call_comes_with_valid_arguments(client, body, is_streamed):
    request = body(tools=[TOOL], tool_choice="required", max_output_tokens=200)
    if is_streamed:
        *_, last = client.stream(PATH, {**request, "stream": True})
        answer = last["response"]
    else:
        answer = client.post(PATH, request)
    calls = items(answer, "function_call")
    assert calls
    for call in calls:
        assert call["name"] == "read"
        jsonschema.validate(json.loads(call["arguments"]), SCHEMA)


def test_a_turn_is_continued_by_its_id(client, body):
    first = client.post(PATH, body())
    second = client.post(PATH, body(input="go on", previous_response_id=first["id"]))
    assert second["usage"]["input_tokens"] > first["usage"]["total_tokens"]


def test_text_and_calls_of_one_turn_are_one_turn_of_the_prompt(client, body):
    call = {"type": "function_call", "call_id": "call_1", "name": "read", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "call_1", "output": "r"}
    text = {"type": "message", "role": "assistant", "phase": "commentary"}
    text["content"] = [{"type": "output_text", "text": "Reading."}]
    history = [{"role": "user", "content": "hi"}, text, call, result]
    chat = {
        "role": "assistant",
        "content": "Reading.",
        "tool_calls": [
            {"id": "x", "type": "function", "function": {"name": "read", "arguments": "{}"}}
        ],
    }
    messages = [history[0], chat, {"role": "tool", "tool_call_id": "x", "content": "r"}]
    tokens = client.post("/tokenize", {"model": "m", "messages": messages})["count"]
    assert client.post(PATH, body(input=history))["usage"]["input_tokens"] == tokens


def test_a_wrong_budget_is_refused_by_name(client, body):
    status, answer = client.try_post(PATH, body(max_thinking_tokens=-1))
    assert status == 400
    assert "max_thinking_tokens: want a non-negative integer" in answer["error"]["message"]
