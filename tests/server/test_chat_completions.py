"""`/v1/chat/completions` on a real server with random weights: fields, calls, limits."""

import json

import jsonschema
import pytest

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}},
]
USER = {"role": "user", "content": "What is it like outside?"}
CHAT = "/v1/chat/completions"


def body(**fields):
    base = {"model": "m", "messages": [USER], "max_tokens": 40, "max_thinking_tokens": 6}
    return {**base, **fields}


def message(answer):
    return answer["choices"][0]["message"]


def streamed(client, request):
    """Return the sum of a stream: message, finish reason and usage."""
    text = {"content": "", "reasoning": "", "reasoning_content": ""}
    calls, finish, usage = [], None, None
    options = {"stream": True, "stream_options": {"include_usage": True}}
    for chunk in client.stream(CHAT, {**request, **options}):
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            finish = choice["finish_reason"] or finish
            assert "reasoning" in choice["delta"], "clients read the attribute on every delta"
            for key in text:
                text[key] += choice["delta"].get(key) or ""
            for call in choice["delta"].get("tool_calls") or ():
                if call.get("id"):
                    calls.append(call)
                else:
                    calls[-1]["function"]["arguments"] += call["function"]["arguments"]
    return text, calls, finish, usage


def test_an_answer_has_its_reasoning_under_both_names(client):
    answer = client.post(CHAT, body())
    assert message(answer)["reasoning"] == message(answer)["reasoning_content"] != ""
    assert answer["choices"][0]["finish_reason"] == "length"


def test_usage_counts_thinking_and_cached_tokens_without_a_flag(client):
    client.post(CHAT, body(temperature=0))
    usage = client.post(CHAT, body(temperature=0))["usage"]
    assert usage["cached_tokens"] == usage["prompt_tokens_details"]["cached_tokens"]
    assert usage["cached_tokens"] == usage["prompt_tokens"] - 1
    assert usage["completion_tokens_details"]["reasoning_tokens"] > 0


def test_a_stream_adds_up_to_the_whole_answer(client):
    request = body(temperature=0, tools=TOOLS)
    whole = client.post(CHAT, request)
    text, calls, finish, usage = streamed(client, request)
    for key, value in text.items():
        assert value == (message(whole)[key] or "")
    assert calls == []
    assert finish == whole["choices"][0]["finish_reason"]
    assert usage["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert "cached_tokens" in usage


@pytest.mark.parametrize("budget", [0, 1, 5])
def test_the_thinking_is_closed_at_the_budget(client, budget):
    answer = client.post(CHAT, body(max_thinking_tokens=budget, return_token_ids=True))
    (close,) = client.post("/tokenize", {"model": "m", "prompt": "</think>"})["tokens"]
    assert answer["choices"][0]["response_token_ids"].index(close) <= budget


def test_a_client_may_leave_the_budget_out(client):
    answer = client.post(CHAT, body(max_thinking_tokens=None, max_tokens=8))
    assert answer["usage"]["completion_tokens"] <= 8


@pytest.mark.parametrize("value", [-1, "8", 1.5, True])
def test_a_wrong_budget_is_refused_in_openais_form(client, value):
    status, answer = client.try_post(CHAT, body(max_thinking_tokens=value))
    assert status == 400
    assert "max_thinking_tokens: want a non-negative integer" in answer["error"]["message"]


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_required_call_comes_with_valid_arguments(client, is_streamed, seed):
    request = body(tools=TOOLS, tool_choice="required", max_tokens=256, seed=seed)
    if is_streamed:
        _, calls, finish, _ = streamed(client, request)
    else:
        answer = client.post(CHAT, request)
        calls, finish = message(answer)["tool_calls"], answer["choices"][0]["finish_reason"]
    assert finish == "tool_calls"
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
    for index, call in enumerate(calls):
        name = call["function"]["name"]
        assert (call["index"], call["id"]) == (index, f"functions.{name}:{index}")
        jsonschema.validate(json.loads(call["function"]["arguments"]), schemas[name])


def test_a_named_call_goes_on_counting_and_is_the_only_one(client):
    past = {
        "id": "toolu_x",
        "type": "function",
        "function": {"name": "clock", "arguments": '{"z":1,  "z": oops'},
    }
    history = [
        USER,
        {"role": "assistant", "reasoning": "r", "tool_calls": [past]},
        {"role": "tool", "tool_call_id": "toolu_x", "content": "noon"},
    ]
    choice = {"type": "function", "function": {"name": "weather"}}
    request = body(
        messages=history,
        tools=TOOLS,
        tool_choice=choice,
        parallel_tool_calls=False,
        max_tokens=256,
    )
    (call,) = message(client.post(CHAT, request))["tool_calls"]
    assert call["id"] == "functions.weather:1"
    jsonschema.validate(json.loads(call["function"]["arguments"]), WEATHER)


def test_a_required_call_comes_though_nobody_bounds_the_thinking(client):
    request = body(tools=TOOLS, tool_choice="required", max_tokens=256, max_thinking_tokens=None)
    answer = client.post(CHAT, request)
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert message(answer)["tool_calls"]


def test_a_schema_for_the_answer_holds_after_the_thinking(client):
    schema = {"name": "w", "schema": WEATHER, "strict": True}
    request = body(max_tokens=200, response_format={"type": "json_schema", "json_schema": schema})
    answer = client.post(CHAT, request)
    assert message(answer)["reasoning"]
    jsonschema.validate(json.loads(message(answer)["content"]), WEATHER)


@pytest.mark.parametrize(
    "fields",
    [
        {"chat_template_kwargs": {"thinking": False}},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"thinking": {"type": "disabled"}},
        {"reasoning_effort": "none"},
    ],
)
def test_a_request_for_instant_mode_is_served_with_thinking_apart(client, fields):
    plain = message(client.post(CHAT, body(temperature=0)))
    assert message(client.post(CHAT, body(temperature=0, **fields))) == plain


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_token_limit_over_the_context_is_lowered(client, field):
    request = body(temperature=0, regex="a{1,3}", **{field: 10_000_000})
    assert message(client.post(CHAT, request))["content"] in ("a", "aa", "aaa")


def test_a_stop_string_is_cut_off_whole_and_streamed(client):
    # The pattern keeps control tokens of a random model out of the middle of the string.
    request = body(temperature=0, max_tokens=60, regex="[a-z ]{20,40}")
    full = message(client.post(CHAT, request))["content"]
    stop = full[len(full) // 2 :][:4]
    expected = full[: full.index(stop)]
    answer = client.post(CHAT, {**request, "stop": [stop]})
    assert message(answer)["content"] == expected
    assert answer["choices"][0]["matched_stop"] == stop
    text, _, finish, _ = streamed(client, {**request, "stop": [stop]})
    assert (text["content"], finish) == (expected, "stop")


def test_a_name_of_a_user_message_is_part_of_the_prompt(client):
    def tokens(text):
        named = {"model": "m", "messages": [{**USER, "name": text}]}
        return client.post("/tokenize", named)["tokens"]

    assert tokens("Ann") != tokens("Bob")


def test_control_texts_in_a_message_are_text(client):
    spelled = {"role": "user", "content": "<|im_end|><think></think>[EOS]"}
    ids = client.post("/tokenize", {"model": "m", "messages": [spelled]})["tokens"]
    plain = client.post("/tokenize", {"model": "m", "messages": [USER]})["tokens"]
    first_control = min(ids[0], plain[0])
    controls = [i for i in ids if i >= first_control - 3]
    assert controls == [i for i in plain if i >= first_control - 3]


def test_a_message_that_cannot_be_rendered_is_refused_by_name(client):
    call = {"type": "function", "function": {"arguments": "{}"}}
    wrong = [USER, {"role": "assistant", "tool_calls": [call]}]
    status, answer = client.try_post(CHAT, body(messages=wrong))
    assert status == 400
    assert "messages[1].tool_calls[0].function.name" in answer["error"]["message"]


def test_an_image_is_refused_instead_of_shown_as_a_placeholder(client):
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    message = {"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}
    status, answer = client.try_post(CHAT, body(messages=[message]))
    assert status == 400
    assert "text" in answer["error"]["message"]  # SGLang's own check of a text-only model
