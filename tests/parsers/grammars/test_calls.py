"""Tool calls: declared names, the next index, arguments by schema, then the end."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from sglang_kimi.parsers.grammars import TurnMatcher

READ = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "limit": {"type": "integer"}},
    "required": ["path"],
    "additionalProperties": False,
}
WRITE = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "text": {"type": "string", "minLength": 1}},
    "required": ["path", "text"],
    "additionalProperties": False,
}
NAMES = ("read_file", "write", "fs/日本:0$@")


@pytest.fixture
def tools(make_tool: Callable[[str, Any], Any]) -> list[Any]:
    return [make_tool(NAMES[0], READ), make_tool(NAMES[1], WRITE), make_tool(NAMES[2], None)]


def call(call_id: str, arguments: str) -> str:
    return f"<|tool_call_begin|>{call_id}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"


def section(*parts: str) -> str:
    parts = ("<|tool_calls_section_begin|>", *parts, "<|tool_calls_section_end|>")
    return "".join(parts) + "<|im_end|>"


def matcher_for(driver: Any, tools: list[Any], start_index: int = 0, **choice: Any) -> TurnMatcher:
    choice = {"is_forced": True, **choice}
    grammar = driver.compiler.tool_calls(tools, **choice)
    return TurnMatcher(grammar, start_index=start_index)


@pytest.mark.parametrize(
    "arguments",
    [
        {"path": "a"},
        {"limit": 0, "path": 'q"\\/\n\t\u0001 é日本😀'},
        {"path": "", "limit": -9223372036854775808},
    ],
)
@pytest.mark.parametrize("style", [{}, {"indent": 4}, {"ensure_ascii": False, "indent": 2}])
def test_good_calls_pass_untouched(
    driver: Any, tools: list[Any], arguments: dict[str, Any], style: dict[str, Any]
) -> None:
    in_order = {key: arguments[key] for key in ("path", "limit") if key in arguments}
    text = json.dumps(in_order, **style)
    matcher = matcher_for(driver, tools, 3)
    output = "thought</think>" + section(call("functions.read_file:3", text))
    assert driver.passes(matcher, output)
    assert matcher.is_terminated()


def test_a_string_with_a_minimum_length_takes_escapes(driver: Any, tools: list[Any]) -> None:
    for text in (r"\n", r"\"quoted\"", r"a\u00e9\ud83d\ude00 and more"):
        good = call("functions.write:0", f'{{"path":"a","text":"{text}"}}')
        assert driver.passes(matcher_for(driver, tools), "</think>" + section(good))
    empty = call("functions.write:0", '{"path":"a","text":""}')
    assert not driver.passes(matcher_for(driver, tools), "</think>" + section(empty))


def test_several_calls_count_on_from_the_history(driver: Any, tools: list[Any]) -> None:
    output = "</think>" + section(
        call("functions.read_file:9", '{"path": "a"}'),
        call("functions.fs/日本:0$@:10", "{}"),
        call("functions.read_file:11", '{"path": "b"}'),
    )
    assert driver.passes(matcher_for(driver, tools, 9), output)


@pytest.mark.parametrize(
    "wrong",
    [
        "functions.read_file:1",
        "functions.read_file:00",
        "functions.read_fil:0",
        "functions.delete:0",
        "read_file:0",
        "functions.fs/日本:0",
    ],
)
def test_another_id_than_a_declared_tool_with_the_next_index_is_refused(
    driver: Any, tools: list[Any], wrong: str
) -> None:
    output = "</think>" + section(call(wrong, '{"path": "a"}'))
    assert not driver.passes(matcher_for(driver, tools), output)


@pytest.mark.parametrize(
    "wrong",
    ["", "[]", '{"limit": 3}', '{"path": 3}', '{"path": "a", "x": 1}', '{"path": "<|im_end|>"}'],
)
def test_arguments_that_break_the_schema_are_refused(
    driver: Any, tools: list[Any], wrong: str
) -> None:
    output = "</think>" + section(call("functions.read_file:0", wrong))
    assert not driver.passes(matcher_for(driver, tools), output)


def test_a_forced_call_comes_at_once_and_the_turn_ends_after_it(
    driver: Any, tools: list[Any]
) -> None:
    matcher = matcher_for(driver, tools)
    assert driver.passes(matcher, "</think>")
    assert driver.allowed(matcher) == driver.spell("<|tool_calls_section_begin|>")
    assert driver.passes(matcher, section(call("functions.read_file:0", '{"path":"a"}'))[:-10])
    assert driver.allowed(matcher) == driver.spell("<|im_end|>")


def test_an_empty_section_is_no_call(driver: Any, tools: list[Any]) -> None:
    assert not driver.passes(matcher_for(driver, tools), "</think>" + section())


def test_a_section_may_end_the_thinking_k1(driver: Any, tools: list[Any]) -> None:
    output = "hm" + section(call("functions.read_file:0", '{"path":"a"}'))
    assert driver.passes(matcher_for(driver, tools), output)


def test_without_force_content_may_come_and_stand_alone(driver: Any, tools: list[Any]) -> None:
    good = section(call("functions.read_file:0", '{"path":"a"}'))
    for output in ("</think>Hello<|im_end|>", "</think>I'll read. " + good):
        assert driver.passes(matcher_for(driver, tools, is_forced=False), output)
    bad = "</think>I'll read. " + section(call("functions.read_file:0", "{}"))
    assert not driver.passes(matcher_for(driver, tools, is_forced=False), bad)


def test_a_named_function_is_the_only_one(driver: Any, tools: list[Any]) -> None:
    good = "</think>" + section(call("functions.read_file:0", '{"path":"a"}'))
    bad = "</think>" + section(call("functions.fs/日本:0$@:0", "{}"))
    assert driver.passes(matcher_for(driver, tools, name="read_file"), good)
    assert not driver.passes(matcher_for(driver, tools, name="read_file"), bad)


def test_without_parallel_calls_there_is_one(driver: Any, tools: list[Any]) -> None:
    first = call("functions.read_file:0", '{"path":"a"}')
    second = call("functions.read_file:1", '{"path":"a"}')
    assert driver.passes(matcher_for(driver, tools), "</think>" + section(first, second))
    single = {"is_parallel": False}
    assert driver.passes(matcher_for(driver, tools, **single), "</think>" + section(first))
    assert not driver.passes(
        matcher_for(driver, tools, **single), "</think>" + section(first, second)
    )


def test_a_name_that_is_not_declared_is_named(driver: Any, tools: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"'delete'; declared: .*'read_file'"):
        matcher_for(driver, tools, name="delete")
    with pytest.raises(ValueError, match="tools: got no function"):
        matcher_for(driver, [])


def test_within_arguments_no_control_token_is_allowed_but_the_calls_end(
    mini_driver: Any, make_tool: Any
) -> None:
    schema = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    matcher = matcher_for(mini_driver, [make_tool("read", schema)])
    vocabulary = mini_driver.vocabulary
    head = "</think><|tool_calls_section_begin|><|tool_call_begin|>functions.read:0"
    assert mini_driver.passes(matcher, head + "<|tool_call_argument_begin|>")
    for token_id in mini_driver.spell('{"path": "a b c\\n d"}'):
        assert not {i for i in mini_driver.allowed(matcher) if i >= vocabulary.num_ranks}
        matcher.accept_token(token_id)
    allowed = mini_driver.allowed(matcher)
    assert vocabulary.control_id("<|tool_call_end|>") in allowed
    assert vocabulary.control_id("<|im_end|>") not in allowed


def test_blanks_between_elements_are_bounded(driver: Any, tools: list[Any]) -> None:
    def output(num_blanks: int) -> str:
        return "</think>" + section(
            call("functions.read_file:0", '{"path":' + " " * num_blanks + '"a"}')
        )

    assert driver.passes(matcher_for(driver, tools), output(160))
    assert not driver.passes(matcher_for(driver, tools), output(168))


def test_digits_of_a_number_are_bounded(driver: Any, make_tool: Any) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}

    def output(number: str) -> str:
        return "</think>" + section(call("functions.count:0", f'{{"n":{number}}}'))

    for number in ("7" * 60, "1e99", "0." + "3" * 60):
        assert driver.passes(matcher_for(driver, [make_tool("count", schema)]), output(number))
    for number in ("7" * 70, "1e999"):
        assert not driver.passes(matcher_for(driver, [make_tool("count", schema)]), output(number))


def test_a_long_string_passes(driver: Any, tools: list[Any]) -> None:
    text = json.dumps({"path": "a\\n日本 " * 400})
    output = "</think>" + section(call("functions.read_file:0", text))
    assert driver.passes(matcher_for(driver, tools), output)


def test_a_long_list_passes_where_the_room_is_little_more_than_it_takes(
    driver: Any, make_tool: Any
) -> None:
    item = {"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "number"}}}
    schema = {"type": "object", "properties": {"items": {"type": "array", "items": item}}}
    grammar = driver.compiler.tool_calls([make_tool("put", schema)], is_forced=True)
    items = [{"a": f"line {number}", "n": number * 1.5} for number in range(100)]
    output = "</think>" + section(call("functions.put:0", json.dumps({"items": items}, indent=4)))
    matcher = TurnMatcher(grammar, max_tokens=len(driver.spell(output)) + 100, thinking_budget=0)
    assert driver.passes(matcher, output)


def test_rolling_back_and_replaying_changes_nothing(driver: Any, tools: list[Any]) -> None:
    output = "ab</think>" + section(
        call("functions.read_file:0", '{"path": "a", "limit": 12}'),
        call("functions.write:1", '{"path": "b", "text": "c"}'),
    )
    token_ids = driver.spell(output)
    matcher = matcher_for(driver, tools)
    seen = []
    for token_id in token_ids:
        seen.append((driver.allowed(matcher), matcher.num_thinking_tokens))
        matcher.accept_token(token_id)
    assert matcher.is_terminated()
    for num_tokens in (1, 5, 23, len(token_ids)):
        matcher.rollback(num_tokens)
        assert not matcher.is_terminated()
        for index in range(len(token_ids) - num_tokens, len(token_ids)):
            assert (driver.allowed(matcher), matcher.num_thinking_tokens) == seen[index]
            matcher.accept_token(token_ids[index])
        assert matcher.is_terminated()


def test_a_draft_that_is_taken_back_leaves_no_trace(driver: Any, tools: list[Any]) -> None:
    """Speculative decoding accepts a draft, fills a mask and takes one token back."""
    grammar = driver.compiler.tool_calls(tools, is_forced=True)
    for seed in range(5):
        plain = TurnMatcher(grammar, max_tokens=120)
        drafted = TurnMatcher(grammar, max_tokens=120)
        for token_id in driver.choose(TurnMatcher(grammar, max_tokens=120), seed, 120):
            allowed = driver.allowed(drafted)
            assert allowed == driver.allowed(plain)
            for draft in (allowed[0], allowed[-1]):
                drafted.accept_token(draft)
                if not drafted.is_terminated():
                    driver.allowed(drafted)
                drafted.rollback(1)
            plain.accept_token(token_id)
            drafted.accept_token(token_id)


def test_a_copy_starts_anew(driver: Any, tools: list[Any]) -> None:
    matcher = matcher_for(driver, tools, 4)
    output = "x</think>" + section(call("functions.read_file:4", '{"path":"a"}'))
    assert driver.passes(matcher, output)
    assert driver.passes(matcher.copy(), output)


def test_a_refused_token_changes_nothing(driver: Any, tools: list[Any]) -> None:
    matcher = matcher_for(driver, tools)
    assert driver.passes(matcher, "</think>")
    with pytest.raises(ValueError, match="in section"):
        matcher.accept_token(driver.spell("x")[0])
    assert driver.passes(matcher, section(call("functions.read_file:0", '{"path":"a"}')))


def test_rolling_back_too_far_is_refused(driver: Any, tools: list[Any]) -> None:
    matcher = matcher_for(driver, tools)
    driver.passes(matcher, "</think>")
    with pytest.raises(ValueError, match="num_tokens: got 2, want 0 to 1"):
        matcher.rollback(2)


def test_without_force_the_thinking_may_open_again_in_the_content_d1(
    driver: Any, tools: list[Any]
) -> None:
    good = section(call("functions.read_file:0", '{"path":"a"}'))
    again = "a</think>One moment.<think>b</think>Now. " + good
    assert driver.passes(matcher_for(driver, tools, is_forced=False), again)
    assert not driver.passes(matcher_for(driver, tools), "a</think><think>b</think>" + good)


ANSWER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.parametrize(
    ("content", "is_good"),
    [
        ('{"n": 1}<|im_end|>', True),
        ("{CALL}", True),
        ('{"n": 1}{CALL}', True),
        ("Hello<|im_end|>", False),
        ('{"n": {CALL}', False),
        ("<|im_end|>", False),
        ('{"n": "x"}<|im_end|>', False),
    ],
)
def test_content_is_held_to_a_format_beside_tools(
    driver: Any, tools: list[Any], content: str, is_good: bool
) -> None:
    answer = driver.compiler.json_schema(ANSWER)
    matcher = matcher_for(driver, tools, is_forced=False, answer=answer)
    good = section(call("functions.read_file:0", '{"path":"a"}'))
    assert driver.passes(matcher, "so</think>" + content.replace("{CALL}", good)) is is_good
    assert matcher.is_terminated() is is_good


def test_an_answer_beside_tools_ends_in_the_room_there_is(driver: Any, tools: list[Any]) -> None:
    answer = driver.compiler.json_schema({"type": "array", "items": ANSWER})
    grammar = driver.compiler.tool_calls(tools, is_forced=False, answer=answer)
    for seed in range(20):
        matcher = TurnMatcher(grammar, max_tokens=80)
        output = driver.text(driver.choose(matcher, seed, 80))
        assert matcher.is_terminated(), output


def test_an_answer_beside_tools_is_rolled_back_whole(driver: Any, tools: list[Any]) -> None:
    answer = driver.compiler.json_schema(ANSWER)
    matcher = matcher_for(driver, tools, is_forced=False, answer=answer)
    good = section(call("functions.read_file:0", '{"path":"a"}'))
    token_ids = driver.spell('</think>{"n": 12}' + good)
    seen = []
    for token_id in token_ids:
        seen.append(driver.allowed(matcher))
        matcher.accept_token(token_id)
    for num_tokens in (1, 12, 17, len(token_ids)):
        matcher.rollback(num_tokens)
        for index in range(len(token_ids) - num_tokens, len(token_ids)):
            assert driver.allowed(matcher) == seen[index]
            matcher.accept_token(token_ids[index])
