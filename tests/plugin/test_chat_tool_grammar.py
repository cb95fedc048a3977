"""Operator and client choose which calls are held; a format may hold beside calls."""

import json
from types import SimpleNamespace

import pytest

from sglang_kimi import environment
from sglang_kimi.chat import detectors, protocol, request_hooks, serving, tool_grammar
from sglang_kimi.chat.detectors import KimiToolCallDetector
from sglang_kimi.chat.grammar_key import read_tag
from sglang_kimi.chat.names import GRAMMAR_BACKEND

protocol.widen()

from sglang.srt.entrypoints.openai.protocol import (  # noqa: E402
    ChatCompletionRequest,
    ResponsesRequest,
)

PARAMETERS = {"type": "object", "properties": {"ö": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": PARAMETERS}}
NAMED = {"type": "function", "function": {"name": "look"}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "array"}}}


@pytest.fixture(autouse=True)
def our_grammars_are_in_use(monkeypatch):
    monkeypatch.setattr(serving, "_is_active", True)
    monkeypatch.delenv(environment.TOOL_GRAMMAR, raising=False)
    kernel = SimpleNamespace(grammar_backend=GRAMMAR_BACKEND)
    for module in (detectors, request_hooks):
        monkeypatch.setattr(module, "get_exec", lambda: SimpleNamespace(kernel=kernel))


def chat(**fields):
    user = {"role": "user", "content": "hi"}
    return ChatCompletionRequest(**{"model": "m", "messages": [user], "tools": [TOOL], **fields})


def sampling_params(request):
    """Take a chat request the way of SGLang's handler: its tools' constraint, then our hook."""
    detector = KimiToolCallDetector()
    if request.tool_choice == "auto":
        tag = detector.get_auto_tool_call_structural_tag(request.tools)
    else:
        tag = detector.get_structural_tag(request.tools, request.tool_choice)
    return request_hooks._sampling_params(
        type(request).to_sampling_params,
        request,
        stop=[],
        model_generation_config={},
        tool_call_constraint=("structural_tag", tag),
    )


def tag_of(request):
    text = sampling_params(request).get("structural_tag")
    return None if text is None else read_tag(json.loads(text))


def test_calls_of_tools_without_strict_are_held_too():
    tag = tag_of(chat())
    assert tag.tools == ({"name": "look", "parameters": PARAMETERS},)
    assert (tag.is_forced, tag.name, tag.answer) == (False, None, None)


@pytest.mark.parametrize(
    ("mode", "choice", "is_held"),
    [
        ("auto", "auto", True),
        ("auto", "required", True),
        ("forced-only", "auto", False),
        ("forced-only", "required", True),
        ("forced-only", NAMED, True),
        ("off", "auto", False),
        ("off", "required", False),
    ],
)
def test_the_mode_says_which_calls_are_held(mode, choice, is_held, monkeypatch):
    assert (tag_of(chat(tool_grammar=mode, tool_choice=choice)) is not None) is is_held
    monkeypatch.setenv(environment.TOOL_GRAMMAR, mode)
    assert (tag_of(chat(tool_choice=choice)) is not None) is is_held


@pytest.mark.parametrize(
    ("choice", "is_forced"),
    [
        ("auto", False),
        ("required", True),
        ({"type": "function", "name": "look"}, True),
        ({"type": "web_search"}, False),
    ],
)
def test_choices_of_the_responses_api_are_forced_where_the_host_can_force_them(choice, is_forced):
    request = ResponsesRequest(input="hi", tool_choice=choice)
    assert tool_grammar.is_forced(request) is is_forced


def test_a_request_goes_before_the_server(monkeypatch):
    monkeypatch.setenv(environment.TOOL_GRAMMAR, "off")
    assert tag_of(chat(tool_grammar="auto")) is not None
    assert tag_of(chat()) is None


@pytest.mark.parametrize("make", [chat, lambda **f: ResponsesRequest(input="hi", **f)])
@pytest.mark.parametrize("value", ["always", 5, ["off"]])
def test_a_wrong_mode_of_a_request_is_refused_by_name_and_value(make, value):
    with pytest.raises(ValueError) as refused:
        tool_grammar.mode_of(make(tool_grammar=value))
    want = f"tool_grammar: want one of auto, forced-only, off, got {value!r}"
    assert str(refused.value) == want


def test_a_wrong_mode_of_the_server_names_the_variable(monkeypatch):
    monkeypatch.setenv(environment.TOOL_GRAMMAR, "on")
    with pytest.raises(ValueError, match=r"SGLANG_KIMI_TOOL_GRAMMAR: want one of auto, .*got 'on'"):
        environment.tool_grammar()


def test_a_json_format_holds_the_content_beside_calls():
    params = sampling_params(chat(response_format=FORMAT))
    tag = read_tag(json.loads(params["structural_tag"]))
    assert json.loads(tag.answer) == {"type": "array"}
    assert not params.get("json_schema")


def test_a_json_format_stays_alone_where_calls_are_not_held():
    params = sampling_params(chat(response_format=FORMAT, tool_grammar="off"))
    assert json.loads(params["json_schema"]) == {"type": "array"}
    assert "structural_tag" not in params


def test_another_form_of_answer_is_held_alone():
    params = sampling_params(chat(regex="a+"))
    assert (params["regex"], params.get("structural_tag")) == ("a+", None)


@pytest.mark.parametrize(("choice", "got"), [("required", "required"), (NAMED, "look")])
def test_a_forced_call_beside_a_format_is_refused(choice, got):
    with pytest.raises(ValueError, match=f"tool_choice: want auto or none .*, got {got}"):
        sampling_params(chat(response_format=FORMAT, tool_choice=choice))


def test_what_orjson_cannot_write_still_reaches_the_scheduler():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"const": 1 << 70}}}
    assert tag_of(chat(tools=[tool])).tools[0]["parameters"] == {"const": 1 << 70}
