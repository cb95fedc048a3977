"""What cannot be answered is refused at once, in the form of each API, by name and value."""

import json
import urllib.error
import urllib.request

import pytest

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
USER = {"role": "user", "content": "hi"}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
BLOCK = {"type": "image", "source": {"type": "base64", "data": "iVBORw0KGgo="}}
HEADER = "x-sglang-kimi-warning"


@pytest.fixture(scope="module")
def model(client):
    """Return the served name: `/v1/responses` refuses any other."""
    with urllib.request.urlopen(f"{client.url}/v1/models", timeout=30) as response:
        return json.load(response)["data"][0]["id"]


@pytest.fixture(scope="module")
def context(client):
    return client.post("/tokenize", {"model": "m", "prompt": "a"})["max_model_len"]


def post(client, path, body):
    """Return status, headers and text of an answer to `body`, JSON or a text as it is."""
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(client.url + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=300) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def tool(schema):
    return {"type": "function", "function": {"name": "f", "parameters": schema}}


BROKEN = {"type": "object", "properties": {"a": {"type": 5}}}

CHATS = {
    "content": (
        {"messages": [USER, USER, USER, {"role": "user", "content": 5}]},
        "messages[3].content",
        "want a text, a list of parts or null, got int 5",
    ),
    "part": (
        {"messages": [{"role": "user", "content": ["a"]}]},
        "messages[0].content[0]",
        "want an object with a type, got str 'a'",
    ),
    "image": (
        {"messages": [USER, {"role": "user", "content": [{"type": "text", "text": "x"}, PICTURE]}]},
        "messages[1].content[1]",
        "want text, as images, video, sound and files are not served yet, got image_url",
    ),
    "message": ({"messages": [USER, 5]}, "messages[1]", "want an object, got int 5"),
    "role": (
        {"messages": [{"content": "a"}]},
        "messages[0].role",
        "want a role such as user, assistant or tool, got nothing",
    ),
    "messages": ({"messages": "hi"}, "messages", "want a list of objects, got str 'hi'"),
    "no messages": ({"messages": None}, "messages", "want a list, got null"),
    "call": (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}]},
        "messages[0].tool_calls[0].function.name",
        "want the name of a function, got nothing",
    ),
    "temperature": (
        {"temperature": "hot"},
        "temperature",
        "want a number, got str 'hot'",
    ),
    "stop": ({"stop": 5}, "stop", "want a list or a text, got int 5"),
    "tool": ({"tools": [{"type": "function"}]}, "tools[0].function", "want a value, got nothing"),
    "schema": (
        {"tools": [tool({"type": "object"}), tool(BROKEN)]},
        "tools[1].function.parameters",
        "want a JSON schema, got one that breaks: /properties/a/type: got 5",
    ),
    "preserve_thinking": (
        {"preserve_thinking": False},
        "preserve_thinking",
        "want true or nothing, as this model's prompts hold the thinking of all earlier turns",
    ),
    "preserve_thinking of a template": (
        {"chat_template_kwargs": {"preserve_thinking": False}},
        "chat_template_kwargs.preserve_thinking",
        "want true or nothing",
    ),
    "clear_thinking": (
        {"chat_template_kwargs": {"clear_thinking": True}},
        "chat_template_kwargs.clear_thinking",
        "want false or nothing",
    ),
    "tool_grammar": (
        {"tool_grammar": "always"},
        "tool_grammar",
        "want one of auto, forced-only, off, got 'always'",
    ),
    "budget": (
        {"thinking_token_budget": -1},
        "thinking_token_budget",
        "want a non-negative integer, got -1",
    ),
    "budget of thinking": (
        {"thinking": {"type": "enabled", "budget_tokens": "x"}},
        "thinking.budget_tokens",
        "want a non-negative integer, got 'x'",
    ),
    "two budgets": (
        {"max_thinking_tokens": 5, "custom_params": {"thinking_budget": 6}},
        "custom_params.thinking_budget",
        "want 5, as max_thinking_tokens says, got 6",
    ),
    "forced call beside a format": (
        {
            "tools": [tool({"type": "object"})],
            "tool_choice": "required",
            "response_format": {"type": "json_object"},
        },
        "tool_choice",
        "want auto or none beside a response format, regex or ebnf, got required",
    ),
    "keep": ({"thinking": {"type": "enabled", "keep": "none"}}, "thinking.keep", "want 'all'"),
}


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("name", CHATS)
def test_a_chat_request_is_refused_in_openais_form(client, name, is_streamed):
    fields, param, text = CHATS[name]
    body = {"model": "m", "messages": [USER], "max_tokens": 1, "stream": is_streamed, **fields}
    status, _, answer = post(client, CHAT, body)
    error = json.loads(answer)["error"]
    assert (status, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert error["message"].startswith(f"{param}: {text}")


@pytest.mark.parametrize("path", ["/tokenize", "/v1/tokenize"])
def test_tokenize_refuses_in_the_same_words(client, path):
    fields, param, text = CHATS["content"]
    status, _, answer = post(client, path, {"model": "m", **fields})
    error = json.loads(answer)["error"]
    assert (status, error["param"]) == (400, param)
    assert error["message"] == f"{param}: {text}"


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES, "/tokenize"])
def test_a_body_that_is_no_json_is_refused(client, path):
    status, _, answer = post(client, path, '{"model": "m", ')
    error = json.loads(answer)
    assert (status, error.get("type")) == (400, "error" if path == MESSAGES else None)
    assert error["error"]["type"] == "invalid_request_error"
    assert error["error"]["message"].startswith("body: want JSON, got an error: ")


ANTHROPIC = {
    "content": (
        {"messages": [{"role": "user", "content": 5}]},
        "messages[0].content: want a list or a text, got int 5",
    ),
    "block": (
        {"messages": [USER, {"role": "user", "content": [{"type": "text", "text": 5}]}]},
        "messages[1].content[0].text: want a text, got int 5",
    ),
    "kind of block": (
        {"messages": [{"role": "user", "content": [{"type": "zzz"}]}]},
        "messages[0].content[0]: want a type among 'text', 'image'",
    ),
    "image": (
        {"messages": [{"role": "user", "content": [BLOCK]}]},
        "messages[0].content[0]: want text, as images, video, sound and files are not served yet",
    ),
    "image in a result": (
        {
            "messages": [
                USER,
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "a", "content": [BLOCK]}],
                },
            ]
        },
        "messages[1].content[0].content[0]: want text, as images",
    ),
    "max_tokens": ({"max_tokens": None}, "max_tokens: want a whole number, got null"),
    "schema": (
        {"tools": [{"name": "f", "input_schema": BROKEN}]},
        "tools[0].function.parameters: want a JSON schema, got one that breaks: /properties/a/type",
    ),
    "preserve_thinking": ({"preserve_thinking": False}, "preserve_thinking: want true or nothing"),
    "tool_grammar": (
        {"tool_grammar": 5},
        "tool_grammar: want one of auto, forced-only, off, got 5",
    ),
    "budget": (
        {"thinking_token_budget": 1.5},
        "thinking_token_budget: want a non-negative integer, got 1.5",
    ),
}


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("name", ANTHROPIC)
def test_a_messages_request_is_refused_in_anthropics_form(client, name, is_streamed):
    fields, text = ANTHROPIC[name]
    body = {"model": "m", "messages": [USER], "max_tokens": 1, "stream": is_streamed, **fields}
    status, _, answer = post(client, MESSAGES, body)
    answer = json.loads(answer)
    assert (status, answer["type"]) == (400, "error")
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["message"].startswith(text)


RESPONSES_REFUSED = {
    "content": ({"input": [USER, {"role": "user", "content": 5}]}, "input[1].content"),
    "image": (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]},
        "input[0].content[0]",
    ),
    "item": ({"input": [USER, {"type": "zzz"}]}, "input[1].type"),
    "role": ({"input": [{"content": "a"}]}, "input[0].role"),
    "input": ({"input": 5}, "input"),
    "schema": (
        {"tools": [{"type": "function", "name": "f", "parameters": BROKEN}]},
        "tools[0].parameters",
    ),
    "preserve_thinking": ({"preserve_thinking": False}, "preserve_thinking"),
    "tool_grammar": ({"tool_grammar": "x"}, "tool_grammar"),
    "temperature": ({"temperature": "hot"}, "temperature"),
}


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("name", RESPONSES_REFUSED)
def test_a_response_is_refused_in_openais_form(client, model, name, is_streamed):
    fields, param = RESPONSES_REFUSED[name]
    body = {"model": model, "input": "hi", "max_output_tokens": 8, "stream": is_streamed, **fields}
    status, _, answer = post(client, RESPONSES, body)
    error = json.loads(answer)["error"]
    assert (status, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert error["message"].startswith(f"{param}: want ")
    assert "None" not in error["message"]


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
def test_a_prompt_over_the_context_is_refused_with_both_numbers(
    client, model, context, path, is_streamed
):
    text = "word " * context
    content = {"input": text} if path == RESPONSES else {"messages": [{**USER, "content": text}]}
    tokens = client.post("/tokenize", {"model": "m", "messages": [{**USER, "content": text}]})
    limit = {"max_output_tokens": 8} if path == RESPONSES else {"max_tokens": 8}
    body = {"model": model, "stream": is_streamed, **content, **limit}
    status, _, answer = post(client, path, body)
    error = json.loads(answer)["error"]
    begin = f"prompt is too long: {tokens['count']} tokens > {context - 1} maximum"
    assert status == 400
    assert error["message"].startswith(begin)
    assert error.get("code") == (None if path == MESSAGES else "context_length_exceeded")


INSTANT = {
    "disabled": {"thinking": {"type": "disabled"}},
    "false": {"thinking": False},
    "template": {"chat_template_kwargs": {"enable_thinking": False}},
    "effort": {"reasoning_effort": "none"},
    "reasoning": {"reasoning": {"enabled": False}},
}


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("name", INSTANT)
def test_a_chat_without_thinking_is_served_with_a_warning(client, name, is_streamed):
    body = {"model": "m", "messages": [USER], "max_tokens": 2, "stream": is_streamed}
    status, headers, answer = post(client, CHAT, {**body, **INSTANT[name]})
    assert (status, "thinking cannot be turned off" in headers[HEADER]) == (200, True)
    assert "reasoning" in answer


@pytest.mark.parametrize("is_streamed", [False, True])
def test_messages_and_responses_without_thinking_are_warned_too(client, model, is_streamed):
    base = {"model": model, "stream": is_streamed}
    asked = [
        (MESSAGES, {"messages": [USER], "max_tokens": 2, "thinking": {"type": "disabled"}}),
        (RESPONSES, {"input": "hi", "max_output_tokens": 8, "reasoning": {"effort": "none"}}),
    ]
    for path, fields in asked:
        status, headers, _ = post(client, path, {**base, **fields})
        assert (status, "thinking cannot be turned off" in headers[HEADER]) == (200, True)


def test_earlier_thinking_is_kept_with_a_warning_where_the_server_should_clear_it(client):
    keep = {"type": "thinking_turns", "value": 1}
    edits = {"edits": [{"type": "clear_thinking_20251015", "keep": keep}]}
    body = {"model": "m", "messages": [USER], "max_tokens": 2, "context_management": edits}
    status, headers, _ = post(client, MESSAGES, body)
    assert (status, "earlier thinking is kept" in headers[HEADER]) == (200, True)


def test_a_usual_answer_has_no_warning(client):
    body = {"model": "m", "messages": [USER], "max_tokens": 2, "thinking": {"type": "enabled"}}
    _, headers, _ = post(client, CHAT, body)
    assert HEADER not in headers
