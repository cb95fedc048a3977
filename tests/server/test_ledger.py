"""The second turn of a conversation finds its first one in the cache, however clients echo it.

The model's weights are random, so its words are noise that no tokenizer would cut as they were
sampled: what is found again to the last token was put back as it was generated.
"""

import json
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from sglang_kimi.launch.server_process import server_command, server_environment

from .conftest import Client, running_server

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
SCHEMA = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["path", "count"],
    "additionalProperties": False,
}
FUNCTION = {"name": "read", "parameters": SCHEMA}
BUDGET = {"max_thinking_tokens": 12}


@pytest.fixture
def user(request):
    """Return a question that no other test asks."""
    return {"role": "user", "content": f"{request.node.name} asks"}


@pytest.fixture(scope="module")
def model(client):
    """Return the served name: `/v1/responses` refuses any other."""
    with urllib.request.urlopen(f"{client.url}/v1/models", timeout=30) as response:
        return json.load(response)["data"][0]["id"]


def rewritten(arguments):
    """Return arguments as a client in another language writes them: other order, other blanks."""
    value = json.loads(arguments)
    return json.dumps(dict(reversed(value.items())), separators=(" ,", " : "))


def chat_body(*messages, **fields):
    return {"model": "m", "messages": list(messages), "max_tokens": 60, **BUDGET, **fields}


def chat_tool(**fields):
    return {"tools": [{"type": "function", "function": FUNCTION}], "max_tokens": 300, **fields}


def whole_of(chunks):
    """Return a chat stream as a whole answer: the message of its one choice and the usage."""
    message, usage, calls = {"role": "assistant", "content": "", "reasoning": ""}, None, {}
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            delta = choice["delta"]
            message["content"] += delta.get("content") or ""
            message["reasoning"] += delta.get("reasoning") or ""
            for call in delta.get("tool_calls") or ():
                held = calls.setdefault(call["index"], {"arguments": ""})
                if call.get("id"):
                    held |= {"id": call["id"], "name": call["function"]["name"]}
                held["arguments"] += call["function"].get("arguments") or ""
    message["tool_calls"] = [
        {"id": c["id"], "type": "function", "function": {k: c[k] for k in ("name", "arguments")}}
        for c in calls.values()
    ]
    return {"choices": [{"message": message}], "usage": usage}


def echo_of(message, *, ids=None):
    """Return what a client sends back: no reasoning, trimmed content, arguments rewritten."""
    echo = {"role": "assistant", "content": (message["content"] or "").strip() or None}
    if message.get("tool_calls"):
        echo["tool_calls"] = [
            {
                "id": ids[number] if ids else call["id"],
                "type": "function",
                "function": {
                    "name": call["function"]["name"],
                    "arguments": rewritten(call["function"]["arguments"]),
                },
            }
            for number, call in enumerate(message["tool_calls"])
        ]
    return echo


def results_of(echo):
    return [
        {"role": "tool", "tool_call_id": call["id"], "content": "done"}
        for call in echo["tool_calls"]
    ]


def assert_reused(first, cached_tokens):
    """Check that prompt and output came from the cache; the last output id may lack its state."""
    reusable = first["prompt_tokens"] + first["completion_tokens"]
    assert cached_tokens in (reusable - 1, reusable)


def cached_after(client, *messages, **fields):
    return client.post(CHAT, chat_body(*messages, **fields))["usage"]["cached_tokens"]


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("ending", ["cut", "stop"])
def test_an_answer_of_chat_is_reused_whole(client, user, is_streamed, ending):
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "f", "schema": schema}}
    fields = {"response_format": form, "max_tokens": 200} if ending == "stop" else {}
    request = chat_body(user, **fields)
    if is_streamed:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
        first = whole_of(client.stream(CHAT, request))
    else:
        first = client.post(CHAT, request)
    message = first["choices"][0]["message"]
    assert message["reasoning"]
    assert_reused(first["usage"], cached_after(client, user, echo_of(message), user))


def test_thinking_alone_is_reused_where_the_limit_cut_it(client, user):
    request = {**chat_body(user), "max_thinking_tokens": 50, "max_tokens": 20}
    first = client.post(CHAT, request)
    echo = echo_of(first["choices"][0]["message"])
    assert echo["content"] is None
    assert_reused(first["usage"], cached_after(client, user, echo, user))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m,
        lambda m: {**m, "reasoning": None, "reasoning_content": ""},
        lambda m: {"role": "assistant", "content": m["content"], "reasoning": m["reasoning"]},
        lambda m: {"role": "assistant", "content": [{"type": "text", "text": m["content"]}]},
        lambda m: {"role": "assistant", "content": m["content"], "name": "Bob", "x": 1},
    ],
    ids=["as-it-was", "empty-reasoning", "reasoning", "parts", "name"],
)
def test_equal_forms_of_an_answer_are_reused(client, user, change):
    first = client.post(CHAT, chat_body(user))
    echo = change(first["choices"][0]["message"])
    assert_reused(first["usage"], cached_after(client, user, echo, user))


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("name", ["functions_read_{}", "call_{}", "toolu_{}", None])
def test_calls_of_chat_are_reused_under_any_id(client, user, is_streamed, name):
    request = chat_body(user, **chat_tool(tool_choice="required"))
    if is_streamed:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
        first = whole_of(client.stream(CHAT, request))
    else:
        first = client.post(CHAT, request)
    message = first["choices"][0]["message"]
    ids = [name.format(n) for n in range(len(message["tool_calls"]))] if name else None
    echo = echo_of(message, ids=ids)
    history = [user, echo, *results_of(echo), user]
    assert_reused(first["usage"], cached_after(client, *history, **chat_tool()))


def test_each_of_several_choices_can_be_gone_on_with(client, user):
    first = client.post(CHAT, chat_body(user, n=2, min_tokens=60))  # noise ends early, sometimes
    prompt_tokens = first["usage"]["prompt_tokens"]
    for choice in first["choices"]:
        cached = cached_after(client, user, echo_of(choice["message"]), user)
        assert cached >= prompt_tokens + 59  # 60 tokens were generated for each choice


def test_a_long_loop_is_reused_at_every_turn(client, user):
    history, before = [user], None
    for number in range(5):
        fields = chat_tool(tool_choice="required" if number % 2 else "auto", max_tokens=100)
        answer = client.post(CHAT, chat_body(*history, **fields))
        if before:
            assert_reused(before, answer["usage"]["cached_tokens"])
        before, message = answer["usage"], answer["choices"][0]["message"]
        calls = message.get("tool_calls") or []
        if any(not is_json(call["function"]["arguments"]) for call in calls):
            echo = {"role": "assistant", "content": message["content"], "tool_calls": calls}
        else:
            echo = echo_of(message, ids=[f"call_{number}_{n}" for n in range(len(calls))])
        history += [echo, *(results_of(echo) if calls else ()), user]


def is_json(text):
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_what_the_client_changed_is_what_the_model_reads(client, user):
    first = client.post(CHAT, chat_body(user))
    changed = {"role": "assistant", "content": "something else"}
    assert not restores_thinking(client, first, prompt_of(client, [user, changed]))
    cached = cached_after(client, user, changed, user)
    assert cached == first["usage"]["prompt_tokens"]  # it ends with `<think>`, as the history does


def prompt_of(client, messages, headers=None, **fields):
    body = {"model": "m", "messages": messages, **fields}
    return client.post("/tokenize", body, headers)["tokens"]


def test_a_turn_stays_with_its_cache_salt(client, user):
    first = client.post(CHAT, chat_body(user, cache_salt="one"))
    echo = echo_of(first["choices"][0]["message"])
    own = prompt_of(client, [user, echo], cache_salt="one")
    foreign = prompt_of(client, [user, echo], cache_salt="two")
    assert restores_thinking(client, first, own)
    assert not restores_thinking(client, first, foreign)
    assert foreign == prompt_of(client, [user, echo])
    assert_reused(first["usage"], cached_after(client, user, echo, user, cache_salt="one"))
    assert cached_after(client, user, echo, user, cache_salt="two") == 0


def test_a_turn_stays_with_its_api_key(client, user):
    one, two = ({"Authorization": f"Bearer {key}"} for key in ("one", "two"))
    first = client.post(CHAT, chat_body(user), one)
    echo = echo_of(first["choices"][0]["message"])
    own, foreign = (prompt_of(client, [user, echo], key) for key in (one, two))
    assert restores_thinking(client, first, own)
    assert not restores_thinking(client, first, foreign)


def test_equal_answers_with_other_thoughts_are_told_apart_by_the_conversation(client, user):
    fields = {"regex": "the same words", "max_tokens": 200}
    firsts = {
        key: client.post(CHAT, chat_body(user, prompt_cache_key=key, **fields))
        for key in ("one", "two", "three")
    }
    for key, first in firsts.items():
        echo = echo_of(first["choices"][0]["message"])
        cached = cached_after(client, user, echo, user, prompt_cache_key=key)
        assert_reused(first["usage"], cached)
    cached = cached_after(client, user, echo, user)
    assert cached <= first["usage"]["prompt_tokens"]  # nothing is guessed


def test_a_client_that_leaves_a_stream_finds_what_it_had_read(client, user):
    chunks = client.stream(CHAT, chat_body(user, stream=True, max_tokens=2000))
    text = ""
    for chunk in chunks:
        text += (chunk["choices"][0]["delta"].get("content") or "") if chunk["choices"] else ""
        if len(text) > 40:
            break
    chunks.close()
    echo = {"role": "assistant", "content": text}
    num_tokens = len(prompt_of(client, [user]))
    first = {"usage": {"prompt_tokens": num_tokens}}
    wait_until(lambda: restores_thinking(client, first, prompt_of(client, [user, echo])))
    time.sleep(1)  # the scheduler ends, and so caches, an abandoned request a few steps later
    assert cached_after(client, user, echo, user) > num_tokens + 12


def restores_thinking(client, first, prompt):
    """Tell whether a history with the first answer has thinking where the answer began."""
    user = {"role": "user", "content": "x"}
    no_thinking = prompt_of(client, [user, {"role": "assistant", "content": "x"}])
    thinking_close = no_thinking[len(prompt_of(client, [user]))]
    return prompt[first["usage"]["prompt_tokens"]] != thinking_close


def wait_until(is_true, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def messages_body(*messages, **fields):
    return {"model": "m", "max_tokens": 60, "messages": list(messages), **BUDGET, **fields}


def anthropic_usage(answer):
    usage = answer["usage"]
    prompt = usage["input_tokens"] + (usage.get("cache_read_input_tokens") or 0)
    return {"prompt_tokens": prompt, "completion_tokens": usage["output_tokens"]}


def test_an_answer_of_messages_is_reused_without_its_thinking(client, user):
    first = client.post(MESSAGES, messages_body(user))
    text = [block for block in first["content"] if block["type"] == "text"]
    second = client.post(
        MESSAGES, messages_body(user, {"role": "assistant", "content": text}, user)
    )
    assert_reused(anthropic_usage(first), second["usage"]["cache_read_input_tokens"])


@pytest.mark.parametrize("keeps_thinking", [False, True])
def test_calls_of_messages_are_reused_under_other_ids(client, user, keeps_thinking):
    tools = [{"name": "read", "input_schema": SCHEMA}]
    fields = {"tools": tools, "max_tokens": 300}
    first = client.post(MESSAGES, messages_body(user, **fields, tool_choice={"type": "any"}))
    blocks, results = [], []
    for number, block in enumerate(first["content"]):
        if block["type"] == "tool_use":
            block = {**block, "id": f"toolu_{number}"}
            block["input"] = dict(reversed(block["input"].items()))
            results.append({"type": "tool_result", "tool_use_id": block["id"], "content": "done"})
        if block["type"] != "thinking" or keeps_thinking:
            blocks.append(block)
    assert results
    turn = [{"role": "assistant", "content": blocks}, {"role": "user", "content": results}]
    second = client.post(MESSAGES, messages_body(user, *turn, **fields))
    assert_reused(anthropic_usage(first), second["usage"]["cache_read_input_tokens"])


def test_a_count_of_messages_is_the_prompts(client, user):
    first = client.post(MESSAGES, messages_body(user))
    text = [block for block in first["content"] if block["type"] == "text"]
    history = [user, {"role": "assistant", "content": text}, user]
    counted = client.post(f"{MESSAGES}/count_tokens", {"model": "m", "messages": history})
    second = client.post(MESSAGES, messages_body(*history))
    assert counted["input_tokens"] == anthropic_usage(second)["prompt_tokens"]


def test_a_turn_of_messages_stays_with_its_cache_salt(client, user):
    first = client.post(MESSAGES, messages_body(user, cache_salt="one"))
    text = [block for block in first["content"] if block["type"] == "text"]
    history = [user, {"role": "assistant", "content": text}, user]
    own, foreign = (
        client.post(MESSAGES, messages_body(*history, cache_salt=salt)) for salt in ("one", "only")
    )
    assert_reused(anthropic_usage(first), own["usage"]["cache_read_input_tokens"])
    assert not foreign["usage"].get("cache_read_input_tokens")


@pytest.fixture
def responses_body(model):
    def make(*items, **fields):
        base = {"model": model, "input": list(items), "max_output_tokens": 60, **BUDGET}
        return {**base, **fields}

    return make


def responses_answer(client, body, is_streamed):
    if not is_streamed:
        return client.post(RESPONSES, body)
    *_, last = client.stream(RESPONSES, {**body, "stream": True})
    return last["response"]


def responses_usage(answer):
    usage = answer["usage"]
    return {"prompt_tokens": usage["input_tokens"], "completion_tokens": usage["output_tokens"]}


def responses_cached(answer):
    return answer["usage"]["input_tokens_details"]["cached_tokens"]


RESPONSES_TOOL = {
    "tools": [{"type": "function", **FUNCTION}],
    "max_output_tokens": 300,
}


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_answer_of_responses_is_reused_without_its_reasoning(
    client, user, responses_body, is_streamed
):
    first = responses_answer(client, responses_body(user), is_streamed)
    echo = [item for item in first["output"] if item["type"] == "message"]
    second = responses_answer(client, responses_body(user, *echo, user), is_streamed)
    assert_reused(responses_usage(first), responses_cached(second))


@pytest.mark.parametrize("is_streamed", [False, True])
def test_calls_of_responses_are_reused(client, user, responses_body, is_streamed):
    body = responses_body(user, **RESPONSES_TOOL, tool_choice="required")
    first = responses_answer(client, body, is_streamed)
    echo = [item for item in first["output"] if item["type"] != "reasoning"]
    calls = [item for item in echo if item["type"] == "function_call"]
    assert calls
    for call in calls:
        call["arguments"] = rewritten(call["arguments"])
    results = [
        {"type": "function_call_output", "call_id": call["call_id"], "output": "done"}
        for call in calls
    ]
    second = client.post(RESPONSES, responses_body(user, *echo, *results, **RESPONSES_TOOL))
    assert_reused(responses_usage(first), responses_cached(second))


@pytest.mark.parametrize("is_streamed", [False, True])
def test_responses_continued_by_id_are_reused_at_every_turn(
    client, user, responses_body, is_streamed
):
    before = responses_answer(client, responses_body(user), is_streamed)
    for _ in range(3):
        body = responses_body(user, previous_response_id=before["id"])
        answer = responses_answer(client, body, is_streamed)
        assert_reused(responses_usage(before), responses_cached(answer))
        before = answer


def test_a_turn_of_one_api_is_found_by_another(client, user, responses_body):
    first = client.post(CHAT, chat_body(user))
    text = first["choices"][0]["message"]["content"]
    echo = {"role": "assistant", "content": text}
    second = client.post(RESPONSES, responses_body(user, echo, user))
    assert_reused(first["usage"], responses_cached(second))


def metrics_of(client):
    """Return our figures at `/metrics`."""
    with urllib.request.urlopen(f"{client.url}/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if line.startswith("sglang_kimi_")]
    return {name.split("{")[0].removeprefix("sglang_kimi_"): float(n) for name, n in pairs}


@pytest.mark.slow
def test_the_operator_sees_what_the_ledger_does(scripted_server, user):
    client = Client(scripted_server.url)
    client.post(CHAT, chat_body({"role": "user", "content": "a first request"}))
    before = metrics_of(client)
    first = client.post(CHAT, chat_body(user))
    echo = echo_of(first["choices"][0]["message"])
    second = client.post(CHAT, chat_body(user, echo, user))
    seen = {name: value - before[name] for name, value in metrics_of(client).items()}
    total = first["usage"]["prompt_tokens"] + second["usage"]["prompt_tokens"]
    assert (seen["ledger_hits_total"], seen["ledger_misses_total"]) == (1, 0)
    assert seen["spliced_tokens_total"] == first["usage"]["completion_tokens"]
    assert seen["restored_thinking_tokens_total"] >= BUDGET["max_thinking_tokens"]
    assert seen["prompt_tokens_total"] == total
    assert seen["prompt_build_seconds_count"] == 2
    assert seen["ledger_bytes"] > 4 * first["usage"]["completion_tokens"]


@pytest.mark.slow
def test_a_restarted_server_goes_on_from_the_ledgers_file(mini_checkpoint, tmp_path, user):
    env = {"SGLANG_KIMI_LEDGER_PATH": str(tmp_path / "ledger")}
    with running_server(mini_checkpoint, tmp_path / "log", env=env) as process:
        client = Client(process.url)
        first = client.post(CHAT, chat_body(user))
        echo = echo_of(first["choices"][0]["message"])
        before = prompt_of(client, [user, echo, user])
    with running_server(mini_checkpoint, tmp_path / "log again", env=env) as process:
        after = prompt_of(Client(process.url), [user, echo, user])
    assert after == before
    assert len(after) > first["usage"]["prompt_tokens"] + first["usage"]["completion_tokens"]
    texts = [(tmp_path / name).read_text() for name in ("log", "log again")]
    assert not any(echo["content"] in text or user["content"] in text for text in texts)


REFUSED = {  # flags, environment, what the last line says
    "flag": (
        ["--strip-thinking-cache"],
        {},
        "--strip-thinking-cache cannot be used with this model",
    ),
    "variable": (
        [],
        {"SGLANG_KIMI_LEDGER_BYTES": "1G"},
        "SGLANG_KIMI_LEDGER_BYTES: want a whole number",
    ),
    "file": (
        [],
        {"SGLANG_KIMI_LEDGER_PATH": "/dev/null"},
        "SGLANG_KIMI_LEDGER_PATH: /dev/null: want a plain file, no link or folder",
    ),
}


@pytest.fixture(scope="module")
def refused(mini_checkpoint):
    """Start a server with each of REFUSED, two at a time."""

    def start(name):
        flags, env, _ = REFUSED[name]
        return subprocess.run(
            server_command(mini_checkpoint, ["--device", "cpu", *flags]),
            env=server_environment(mini_checkpoint) | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(REFUSED, pool.map(start, REFUSED), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_the_ledger_cannot_work_with_stops_the_start(refused, name):
    assert refused[name].returncode != 0
    assert REFUSED[name][2] in refused[name].stderr.strip().splitlines()[-1]
