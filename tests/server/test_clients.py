"""What clients are known to send is served, and what differs only in form gives the same prompt."""

import json
import urllib.request

import pytest

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages?beta=true"
COUNT = "/v1/messages/count_tokens"
USER = {"role": "user", "content": "hi"}
TEXT = [{"type": "text", "text": "hi"}]
SCHEMA = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "id": "urn:tool",
    "type": "object",
    "properties": {
        "n": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
        "pair": {"type": "array", "items": [{"type": "string"}, {"type": "integer"}]},
        "when": {"type": "string", "format": "x-our-own", "maximum": 9007199254740991},
    },
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "Bash", "description": "d", "parameters": SCHEMA}}


def call(call_id, arguments='{"command": "x"}', **extra):
    function = {"name": "Bash", "arguments": arguments, **extra}
    return {"id": call_id, "type": "function", "function": function, **extra}


def turn(call_id, **fields):
    """Return a call and its result as a client echoes them."""
    return [
        {"role": "assistant", "tool_calls": [call(call_id)], **fields},
        {"role": "tool", "tool_call_id": call_id, "content": "r"},
    ]


ODD_HISTORIES = {
    "a role of its own": [{"role": "Critic", "content": "c"}],
    "developer": [{"role": "developer", "content": "d"}, USER],
    "function": [{"role": "function", "name": "f", "content": "r"}, USER],
    "system in the middle": [USER, {"role": "system", "content": "s"}, USER],
    "users in a row": [USER, USER, {"role": "user", "content": TEXT}],
    "nothing in it": [USER, {"role": "assistant"}, {"role": "user"}],
    "null content": [{"role": "user", "content": None}, {"role": "assistant", "content": None}],
    "empty content": [{"role": "user", "content": ""}, {"role": "user", "content": []}],
    "a part of another type": [{"role": "user", "content": [{"type": "output_text", "text": "x"}]}],
    "a part without text": [{"role": "user", "content": [{"type": "text"}, *TEXT]}],
    "thinking as a part": [USER, {"role": "assistant", "content": [{"type": "thinking"}]}, USER],
    "arguments that are no JSON": [USER, {"role": "assistant", "tool_calls": [call("a", "{")]}],
    "arguments as an object": [USER, {"role": "assistant", "tool_calls": [call("a", {"b": None})]}],
    "a result without its call": [USER, {"role": "tool", "tool_call_id": "a", "content": "r"}],
    "a result that names nothing": [USER, {"role": "tool", "content": TEXT}],
    "repeated ids": [USER, *turn("a"), *turn("a")],
    "unknown keys": [{**USER, "x": {"y": 1}, "cache_control": {}, "cls": 1, "_fields_set": 2}],
    "keys of LiteLLM": [USER, *turn("a", provider_specific_fields={"b": 1}, function_call=None)],
    "a name": [{**USER, "name": "Ann"}, {"role": "assistant", "content": "a", "name": "Bo"}],
    "a phase": [USER, {"role": "assistant", "content": "a", "phase": "whatever"}, USER],
    "partial": [USER, {"role": "assistant", "content": "a", "partial": True}],
    "an unknown kind of call": [
        USER,
        {"role": "assistant", "tool_calls": [{**call("a"), "type": "builtin_function"}]},
    ],
    "reasoning details": [
        USER,
        {"role": "assistant", "content": "a", "reasoning_details": [{"text": "r"}]},
    ],
}

REQUEST_FIELDS = {
    "kimi-code": {
        "thinking": {"type": "enabled", "keep": "all"},
        "prompt_cache_key": "session_1",
        "max_completion_tokens": 262144,
        "regex": "a",
        "tools": [TOOL],
    },
    "kimi-code as openai": {"reasoning_effort": "medium", "max_tokens": 131072, "regex": "a"},
    "OpenHands": {"reasoning_effort": "high", "max_tokens": 4, "prompt_cache_key": "c"},
    "openai-python": {
        "chat_template_kwargs": {"thinking": True, "preserve_thinking": True},
        "max_tokens": 4,
    },
    "unknown": {"max_tokens": 4, "safety_identifier": "s", "service_tier": "auto", "x": [1]},
    "clear_thinking": {"max_tokens": 4, "clear_thinking": False},
}

SAME_CHATS = {
    "content as parts": ([USER], [{"role": "user", "content": TEXT}]),
    "other key order": ([USER], [{"content": "hi", "role": "user"}]),
    "a cache mark": (
        [USER],
        [{"role": "user", "content": [{**TEXT[0], "cache_control": {"type": "ephemeral"}}]}],
    ),
    "letter case of the role": ([USER], [{"role": "User", "content": "hi"}]),
    "tool results as parts": (
        [USER, *turn("a")],
        [
            USER,
            turn("a")[0],
            {"role": "tool", "tool_call_id": "a", "content": [TEXT[0] | {"text": "r"}]},
        ],
    ),
    "null content": ([USER, *turn("a")], [USER, *turn("a", content=None)]),
    "unknown keys": ([USER, *turn("a")], [{**USER, "x": 1}, *turn("a", y=2, function_call=None)]),
    "another name of the reasoning": (
        [USER, {"role": "assistant", "content": "a", "reasoning": "r"}, USER],
        [USER, {"role": "assistant", "content": "a", "reasoning_content": "r"}, USER],
    ),
    **{
        f"foreign ids such as {foreign}": (
            [USER, *turn("functions.Bash:0")],
            [USER, *turn(foreign)],
        )
        for foreign in ("call_abc", "functions_Bash_0", "toolu_x", "0b9c-11", "")
    },
}


@pytest.fixture(scope="module")
def model(client):
    """Return the served name: `/v1/responses` refuses any other."""
    with urllib.request.urlopen(f"{client.url}/v1/models", timeout=30) as response:
        return json.load(response)["data"][0]["id"]


BILLED = "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli; cch={};"
MARK = {"cache_control": {"type": "ephemeral"}}


def claude(number, **fields):
    """Return a request of Claude Code, with the parts that change from turn to turn."""
    marked = {0: MARK}
    blocks = [
        {"type": "thinking", "thinking": "th", "signature": "s" * number},
        {"type": "text", "text": "tx", **marked.get(number, {})},
        {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "x"}},
    ]
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": False, "content": "r"}
    return {
        "model": "m",
        "system": [
            {"type": "text", "text": BILLED.format(number)},
            {"type": "text", "text": "You are an agent.", **marked.get(number, {})},
        ],
        "messages": [
            USER,
            {"role": "assistant", "content": blocks},
            {"role": "user", "content": [{**result, **marked.get(number - 1, {})}]},
            {"role": "system", "content": "in the middle"},
        ],
        "tools": [{"name": "Bash", "description": "d", "input_schema": SCHEMA}],
        **fields,
    }


def prompt_of(client, messages, **fields):
    return client.post("/tokenize", {"model": "m", "messages": messages, **fields})["tokens"]


@pytest.mark.parametrize("name", ODD_HISTORIES)
def test_an_odd_history_is_rendered_and_never_refused(client, name):
    messages = ODD_HISTORIES[name]
    answer = client.post(CHAT, {"model": "m", "messages": messages, "max_tokens": 1})
    rendered = prompt_of(client, messages)
    assert answer["usage"]["prompt_tokens"] == len(rendered)


@pytest.mark.parametrize("name", REQUEST_FIELDS)
def test_the_fields_of_a_client_are_taken(client, name):
    body = {"model": "m", "messages": [USER], "max_thinking_tokens": 1, **REQUEST_FIELDS[name]}
    assert client.post(CHAT, body)["usage"]["prompt_tokens"]


@pytest.mark.parametrize("name", SAME_CHATS)
def test_what_differs_only_in_form_is_the_same_prompt(client, name):
    one, other = SAME_CHATS[name]
    assert prompt_of(client, one, tools=[TOOL]) == prompt_of(client, other, tools=[TOOL])


def test_a_role_is_shown_as_the_client_spells_it(client):
    shown = prompt_of(client, [{"role": "Critic", "content": "c"}])
    assert shown != prompt_of(client, [{"role": "critic", "content": "c"}])
    text = client.post("/detokenize", {"model": "m", "tokens": shown, "skip_special_tokens": False})
    assert text["text"].startswith("<|im_system|>Critic<|im_middle|>c<|im_end|>")


def test_billing_line_signature_and_cache_marks_change_nothing_for_claude_code(client):
    extra = {
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": '{"session_id": "s"}'},
        "max_tokens": 32000,
        "stop_sequences": ["e", "a", " ", "t"],
    }
    counts = [client.post(COUNT, claude(n))["input_tokens"] for n in (0, 1, 2)]
    assert len(set(counts)) == 1
    client.post(MESSAGES, claude(0, **extra))
    usage = client.post(MESSAGES, claude(1, **extra))["usage"]
    assert usage["input_tokens"] == 1, "all but the token that is computed anew is cached"
    assert usage["cache_read_input_tokens"] == counts[0] - 1
    plain = claude(1)["system"][1:]
    assert client.post(COUNT, claude(0, system=plain))["input_tokens"] == counts[0]


def test_redacted_thinking_of_another_model_is_left_out(client):
    blocks = [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "a"}]
    counts = [
        client.post(
            COUNT, {"model": "m", "messages": [USER, {"role": "assistant", "content": content}]}
        )["input_tokens"]
        for content in (blocks, blocks[1:])
    ]
    assert counts[0] == counts[1]


def test_a_message_of_anthropics_form_may_have_any_role(client):
    messages = [USER, {"role": "Critic", "content": "c"}]
    counted = client.post(COUNT, {"model": "m", "messages": messages})["input_tokens"]
    assert counted == len(prompt_of(client, messages))


def test_items_of_responses_reach_the_prompt_as_they_are(client, model):
    items = [
        {"role": "developer", "content": "d"},
        USER,
        {"type": "function_call", "call_id": "c", "name": "Bash", "arguments": "{broken"},
        {"type": "function_call_output", "call_id": "c", "output": "r"},
    ]
    chat = [{"role": "developer", "content": "d"}, USER]
    chat += [{"role": "assistant", "tool_calls": [call("c", "{broken")]}]
    chat += [{"role": "tool", "tool_call_id": "c", "content": "r"}]
    body = {"model": model, "input": items, "max_output_tokens": 8}
    usage = client.post("/v1/responses", body)["usage"]
    assert usage["input_tokens"] == len(prompt_of(client, chat))
