"""`/v1/messages` on a real server with random weights."""

import jsonschema
import pytest

SCHEMA = {
    "type": "object",
    "properties": {"path": {"type": "string"}},
    "required": ["path"],
    "additionalProperties": False,
}
TOOL = {"name": "read", "input_schema": SCHEMA}
USER = {"role": "user", "content": "hello"}
PATH = "/v1/messages?beta=true"


def body(**fields):
    base = {"model": "m", "max_tokens": 40, "messages": [USER], "max_thinking_tokens": 6}
    return {**base, **fields}


def blocks(answer, kind):
    return [block for block in answer["content"] if block["type"] == kind]


def streamed(client, request):
    """Return the sum of a stream in the form of a whole answer, inputs as JSON text."""
    content, stop_reason = [], None
    for event in client.stream(PATH, {**request, "stream": True}):
        if event["type"] == "content_block_start":
            content.append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            delta, block = event["delta"], content[event["index"]]
            for key, target in (
                ("text", "text"),
                ("thinking", "thinking"),
                ("partial_json", "json"),
            ):
                block[target] = block.get(target, "") + delta.get(key, "")
        elif event["type"] == "message_delta":
            stop_reason = event["delta"]["stop_reason"]
    return {"content": content, "stop_reason": stop_reason}


def test_an_answer_begins_with_its_thinking(client):
    answer = client.post(PATH, body(temperature=0))
    assert [block["type"] for block in answer["content"]] == ["thinking", "text"]
    assert answer["stop_reason"] == "max_tokens"


def test_a_stream_adds_up_to_the_whole_answer(client):
    whole = client.post(PATH, body(temperature=0))
    parts = streamed(client, body(temperature=0))
    for kind, key in (("thinking", "thinking"), ("text", "text")):
        assert [b[key] for b in blocks(parts, kind)] == [b[key] for b in blocks(whole, kind)]


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "read"}])
def test_a_forced_call_comes_with_valid_input(client, choice):
    answer = client.post(PATH, body(tools=[TOOL], tool_choice=choice, max_tokens=200))
    assert answer["stop_reason"] == "tool_use"
    for index, block in enumerate(blocks(answer, "tool_use")):
        assert block["id"] == f"functions.read:{index}"
        jsonschema.validate(block["input"], SCHEMA)


def test_a_cut_call_is_left_out_whole_and_ends_the_stream_as_cut(client):  # X5
    wide = {"type": "object", "required": [f"k{i}" for i in range(40)]}
    tool = {"name": "wide", "input_schema": wide}
    request = body(tools=[tool], tool_choice={"type": "any"}, max_tokens=40, temperature=0)
    answer = client.post(PATH, request)
    assert (blocks(answer, "tool_use"), answer["stop_reason"]) == ([], "max_tokens")
    parts = streamed(client, request)
    assert parts["stop_reason"] == "max_tokens"
    assert blocks(parts, "tool_use")[0]["name"] == "wide"


def test_disabled_thinking_is_served_with_thinking(client):
    answer = client.post(PATH, body(thinking={"type": "disabled"}, temperature=0))
    assert blocks(answer, "thinking")


def test_past_thinking_and_calls_are_those_of_the_chat_form(client):
    turn = [
        {"type": "thinking", "thinking": "th", "signature": ""},
        {"type": "text", "text": "tx"},
        {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": "Zürich"}},
    ]
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "r"}
    messages = [
        USER,
        {"role": "assistant", "content": turn},
        {"role": "user", "content": [result]},
    ]
    arguments = '{"path": "Zürich"}'
    call = {"id": "x", "type": "function", "function": {"name": "read", "arguments": arguments}}
    chat = [
        USER,
        {"role": "assistant", "content": "tx", "reasoning_content": "th", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "x", "content": "r"},
    ]
    counted = client.post("/v1/messages/count_tokens", {"model": "m", "messages": messages})
    tokens = client.post("/tokenize", {"model": "m", "messages": chat})["count"]
    assert counted["input_tokens"] == tokens


def test_a_second_request_reports_its_cached_tokens(client):
    client.post(PATH, body())
    usage = client.post(PATH, body())["usage"]
    assert usage["cache_read_input_tokens"] > 0
    assert usage["input_tokens"] == 1


def test_a_token_limit_over_the_context_is_lowered(client):
    answer = client.post(PATH, body(max_tokens=10_000_000, stop_sequences=["e", "a", " "]))
    assert answer["stop_reason"] == "end_turn"


def test_a_wrong_budget_is_refused_in_anthropics_form(client):
    status, answer = client.try_post(PATH, body(max_thinking_tokens=-1))
    assert (status, answer["type"]) == (400, "error")
    assert "max_thinking_tokens: want a non-negative integer" in answer["error"]["message"]
