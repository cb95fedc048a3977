"""A limit of the thinking is found under every name that clients have for it, or the operator's."""

import pytest

from sglang_kimi import environment
from sglang_kimi.chat import protocol, thinking_budget

protocol.widen()

from sglang.srt.entrypoints.openai.protocol import (  # noqa: E402
    ChatCompletionRequest,
    ResponsesRequest,
)


def chat(**fields):
    user = {"role": "user", "content": "hi"}
    return ChatCompletionRequest(**{"model": "m", "messages": [user], **fields})


def response(**fields):
    return ResponsesRequest(input="hi", **fields)


NAMES = {
    "max_thinking_tokens": lambda n: {"max_thinking_tokens": n},
    "thinking_token_budget": lambda n: {"thinking_token_budget": n},
    "thinking.budget_tokens": lambda n: {"thinking": {"type": "enabled", "budget_tokens": n}},
    "custom_params.thinking_budget": lambda n: {"custom_params": {"thinking_budget": n}},
}


@pytest.fixture(autouse=True)
def no_limits_of_the_operator(monkeypatch):
    monkeypatch.delenv(environment.MAX_THINKING_TOKENS, raising=False)
    monkeypatch.delenv(environment.REASONING_EFFORT, raising=False)


@pytest.mark.parametrize("number", [0, 64])
@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_budget_is_read(name, number):
    assert thinking_budget.of_request(chat(**NAMES[name](number))) == number


@pytest.mark.parametrize("name", list(NAMES)[:3])
def test_responses_have_the_fields_of_a_body_too(name):
    assert thinking_budget.of_request(response(**NAMES[name](7))) == 7


@pytest.mark.parametrize("fields", [{}, {"max_thinking_tokens": None}, {"thinking": {"type": "x"}}])
def test_a_request_without_a_budget_asks_for_none(fields):
    assert thinking_budget.of_request(chat(**fields)) is None


@pytest.mark.parametrize("value", [-1, 1.5, "8", True, []])
@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_budget_is_refused_by_name_and_value(name, value):
    with pytest.raises(ValueError) as refused:
        thinking_budget.of_request(chat(**NAMES[name](value)))
    assert str(refused.value) == f"{name}: want a non-negative integer, got {value!r}"


def test_two_names_may_agree_but_not_differ():
    assert thinking_budget.of_request(chat(max_thinking_tokens=5, thinking_token_budget=5)) == 5
    with pytest.raises(ValueError) as refused:
        thinking_budget.of_request(chat(max_thinking_tokens=5, thinking_token_budget=9))
    wrong = "thinking_token_budget: want 5, as max_thinking_tokens says, got 9"
    assert str(refused.value) == wrong


@pytest.mark.parametrize("effort", ["low", "medium", "high"])
def test_an_effort_limits_nothing_by_itself(effort):
    assert thinking_budget.of_server(chat(reasoning_effort=effort)) is None


@pytest.mark.parametrize(
    "request_of",
    [
        lambda effort: chat(reasoning_effort=effort),
        lambda effort: chat(reasoning={"effort": effort}),
        lambda effort: response(reasoning={"effort": effort}),
    ],
)
def test_an_effort_limits_what_the_operator_maps_it_to(request_of, monkeypatch):
    monkeypatch.setenv(environment.REASONING_EFFORT, "low=1024, medium=8192")
    assert thinking_budget.of_server(request_of("low")) == 1024
    assert thinking_budget.of_server(request_of("high")) is None
    monkeypatch.setenv(environment.MAX_THINKING_TOKENS, "9000")
    assert thinking_budget.of_server(request_of("medium")) == 8192
    assert thinking_budget.of_server(request_of("high")) == 9000


@pytest.mark.parametrize("text", ["low", "low=", "=5", "low=-1", "low=5;high=9"])
def test_a_wrong_list_of_efforts_names_the_variable(text, monkeypatch):
    monkeypatch.setenv(environment.REASONING_EFFORT, text)
    with pytest.raises(ValueError, match=r"SGLANG_KIMI_REASONING_EFFORT: want .*low=1024"):
        environment.reasoning_efforts()


def test_a_wrong_default_names_the_variable(monkeypatch):
    monkeypatch.setenv(environment.MAX_THINKING_TOKENS, "many")
    with pytest.raises(ValueError, match=r"SGLANG_KIMI_MAX_THINKING_TOKENS: want .* got 'many'"):
        environment.max_thinking_tokens()
