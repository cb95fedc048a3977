"""The thinking is counted and ended where the budget says; what follows is the body's."""

import json
from typing import Any

import pytest

from sglang_kimi.parsers.grammars import TurnMatcher

THINK_CLOSE = "</think>"
STOP = "<|im_end|>"


@pytest.mark.parametrize("budget", [0, 1, 17])
def test_the_budget_closes_the_thinking_exactly_there(driver: Any, budget: int) -> None:
    close = driver.vocabulary.control_id(THINK_CLOSE)
    matcher = TurnMatcher(driver.compiler.free, thinking_budget=budget)
    for _ in range(budget):
        assert len(driver.allowed(matcher)) > 256
        matcher.accept_token(driver.spell("x")[0])
    assert driver.allowed(matcher) == [close]
    matcher.accept_token(close)
    assert not matcher.is_thinking
    assert matcher.num_thinking_tokens == budget


def test_after_the_thinking_of_a_free_turn_everything_is_allowed(driver: Any) -> None:
    matcher = TurnMatcher(driver.compiler.free, thinking_budget=5)
    assert driver.passes(matcher, "so</think>Hello <|tool_calls_section_begin|>[BOS]")
    assert len(driver.allowed(matcher)) == driver.vocabulary.size
    assert driver.passes(matcher, STOP)
    assert matcher.is_terminated()


def test_control_tokens_can_not_come_from_the_thinking(driver: Any) -> None:
    matcher = TurnMatcher(driver.compiler.free)
    controls = [i for i in driver.allowed(matcher) if i >= driver.vocabulary.num_ranks]
    assert [driver.vocabulary.control_text(i) for i in controls] == [
        "<|tool_calls_section_begin|>",
        THINK_CLOSE,
    ]


def test_a_second_think_goes_on_counting_d1(driver: Any) -> None:
    matcher = TurnMatcher(driver.compiler.free, thinking_budget=3)
    assert driver.passes(matcher, "ab</think>text<think>c")
    assert matcher.num_thinking_tokens == 3
    assert driver.allowed(matcher) == driver.spell(THINK_CLOSE)


def test_a_section_inside_the_thinking_ends_it_for_good_k1(driver: Any) -> None:
    matcher = TurnMatcher(driver.compiler.free, thinking_budget=9)
    assert driver.passes(matcher, "ab<|tool_calls_section_begin|>")
    assert not matcher.is_thinking
    assert driver.passes(matcher, "<think>cd")
    assert not matcher.is_thinking
    assert matcher.num_thinking_tokens == 2


def test_a_turn_may_start_after_the_thinking(driver: Any) -> None:
    matcher = TurnMatcher(driver.compiler.json_object(), starts_in_thinking=False)
    assert driver.passes(matcher, '{"a": 1}' + STOP)
    assert matcher.is_terminated()


def test_tokens_after_the_end_are_ignored(driver: Any) -> None:
    matcher = TurnMatcher(driver.compiler.free)
    assert driver.passes(matcher, "</think>a" + STOP)
    matcher.accept_token(0)
    assert matcher.is_terminated()


@pytest.mark.parametrize("name", ["start_index", "thinking_budget", "max_tokens"])
def test_a_negative_number_is_named(driver: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: got -1"):
        TurnMatcher(driver.compiler.free, **{name: -1})


def test_a_formatted_answer_satisfies_its_schema_in_the_room_there_is(driver: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"steps": {"type": "array", "items": {"type": "string"}}},
        "required": ["steps"],
        "additionalProperties": False,
    }
    for seed in range(10):
        matcher = TurnMatcher(driver.compiler.json_schema(schema), max_tokens=100)
        output = driver.text(driver.choose(matcher, seed, 100))
        assert matcher.is_terminated()
        answer = output.split(THINK_CLOSE.encode())[1]
        value = json.loads(answer.replace(b"<|im_end|>", b"").replace(b"[EOS]", b""))
        assert [*value] == ["steps"] and all(isinstance(step, str) for step in value["steps"])


@pytest.mark.parametrize(
    ("kind", "source", "good", "bad"),
    [
        ("regex", "a{2}[0-9]", "aa7", "aab"),
        ("ebnf", 'root ::= "yes" | "no"', "no", "maybe"),
        ("json_schema", {"type": "integer"}, "12", '"12"'),
        ("json_schema", True, "[1]", "]"),
    ],
)
def test_every_kind_of_answer_starts_after_the_thinking(
    driver: Any, kind: str, source: Any, good: str, bad: str
) -> None:
    grammar = getattr(driver.compiler, kind)(source)
    assert driver.passes(TurnMatcher(grammar), "so</think>" + good + STOP)
    assert not driver.passes(TurnMatcher(grammar), "so</think>" + bad + STOP)
    assert not driver.passes(TurnMatcher(grammar), "so" + STOP)


@pytest.mark.parametrize(("kind", "source"), [("regex", "(a"), ("ebnf", "root = x")])
def test_a_broken_pattern_or_grammar_is_named(driver: Any, kind: str, source: str) -> None:
    with pytest.raises(ValueError, match=f"{kind}: can't be compiled"):
        getattr(driver.compiler, kind)(source)
