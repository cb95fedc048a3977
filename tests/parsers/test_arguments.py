"""Arguments: decisions A1 to A5, L1 within them, and X1."""

import json
from collections.abc import Callable

import pytest

from sglang_kimi.parsers.events import ArgumentText, CallEnd, CallStart, Reasoning
from sglang_kimi.parsers.output_parser import OutputParser
from sglang_kimi.parsers.repairs import Repair

from .fakes import (
    ARGUMENT,
    CALL,
    END,
    END_CALL,
    END_THINK,
    SECTION,
    THINK,
    VOCABULARY,
    Answer,
    Way,
    call,
    marked_ids,
    parse,
    plain_ids,
    section,
    tool,
)

Run = Callable[..., Answer]
TOOLS = [tool("run")]


def arguments_of(run: Run, written: str) -> tuple[str, dict[str, int]]:
    """Return what a client gets for arguments as the model wrote them, and the counters."""
    answer = run(f"a{section(call('functions.run:0', written))}{END}", tools=TOOLS)
    [(call_id, arguments)] = answer.calls
    assert call_id == "functions.run:0"
    assert answer.reason == "tool_calls"
    return arguments, dict(answer.counters)


@pytest.mark.parametrize(
    "written",
    [
        '{"b":1,"a":2}',
        '{ "a" : 1 ,\n  "a" : 2 }',
        '{"a": 1.50, "b": 1e400, "c": 123456789012345678901234567890, "d": -0}',
        '{"a": "\\u00e9\\/\\n\\"\\\\", "b": "é漢🙂"}',
        '{"a": {"b": [1, {"c": "}]"}]}}',
        '{"a": "{\\"b\\": 1}"}',
        '{"a": "<|tool|> </thin <"}',
    ],
)
def test_a1_arguments_are_the_models_own_string(run: Run, written: str) -> None:
    assert arguments_of(run, written) == (written, {})


@pytest.mark.parametrize("blank", [" ", "\n", "\r\n\t ", "\u3000"])
def test_a2_blanks_around_arguments_are_trimmed_and_those_inside_stay(run: Run, blank: str) -> None:
    written = f'{{{blank}"a":{blank}" b "{blank}}}'
    assert arguments_of(run, blank + written + blank * 3) == (written, {})


def test_a2_blanks_around_the_id_are_trimmed(run: Run) -> None:
    answer = run("a" + section(call("  functions.run:0\n")), tools=TOOLS)
    assert answer.calls == [("functions.run:0", "{}")]
    assert not answer.counters


@pytest.mark.parametrize("nothing", ["", " ", "\n\n"])
def test_a3_nothing_between_marker_and_end_means_an_empty_object(run: Run, nothing: str) -> None:
    assert arguments_of(run, nothing) == ("{}", {Repair.EMPTY_ARGUMENTS: 1})


@pytest.mark.parametrize(
    "inner", ['{"a": 1}', "{}", '{"a": "\\"quoted\\" é \\u00e9"}', '{"a": [{"b": null}]}']
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a4_a_string_that_holds_an_object_is_unwrapped(
    run: Run, inner: str, ascii_only: bool
) -> None:
    wrapped = json.dumps(inner, ensure_ascii=ascii_only)
    assert arguments_of(run, f" {wrapped} ") == (inner, {Repair.UNWRAPPED_ARGUMENTS: 1})


def test_a4_only_one_layer_is_unwrapped_so_a_twice_wrapped_object_stays(run: Run) -> None:
    twice = json.dumps(json.dumps('{"a": 1}'))
    assert arguments_of(run, twice) == (twice, {Repair.ODD_ARGUMENTS: 1})


def test_a4_unwrapping_that_gives_no_valid_text_is_left_undone(run: Run) -> None:
    wrapped = '"{\\"a\\": \\"\\ud800\\"}"'
    assert arguments_of(run, wrapped) == (wrapped, {Repair.ODD_ARGUMENTS: 1})


@pytest.mark.parametrize(
    "written",
    [
        "[1, 2]",
        "null",
        "3",
        '"text"',
        '""',
        '{"a": 1',
        '{"a": 1}}',
        '{"a": 1} and more',
        "command: ls",
        '"{\\"a\\": 1}" tail',
        "[" * 3_000,
        '"' + "[" * 3_000 + '"',
    ],
    ids=lambda written: written[:12],
)
def test_a5_other_json_and_no_json_are_passed_on_as_they_are(run: Run, written: str) -> None:
    assert arguments_of(run, written) == (written, {Repair.ODD_ARGUMENTS: 1})


@pytest.mark.parametrize(
    "partial", ["", '{"a', '{"a": "b', '{"a": 1', '"{\\"a\\": 1', '{"a": "\\', "plain"]
)
def test_x1_a_call_cut_inside_its_arguments_keeps_the_partial_string(
    run: Run, partial: str
) -> None:
    output = f"a{SECTION}{CALL}functions.run:0{ARGUMENT}{partial}"
    answer = run(output, tools=TOOLS, truncated=True)
    assert answer.calls == [("functions.run:0", partial)]
    assert answer.reason == "length"
    assert CallEnd(0) not in answer.events
    assert answer.counters == {Repair.CUT_ARGUMENTS: 1}


def test_x1_blanks_at_the_cut_are_not_passed_on_for_they_may_be_the_last_ones(run: Run) -> None:
    output = f'a{SECTION}{CALL}functions.run:0{ARGUMENT} {{"a": 1 \n'
    assert run(output, tools=TOOLS, truncated=True).calls == [("functions.run:0", '{"a": 1')]


@pytest.mark.parametrize(
    "partial", ['{"a": "b ', '{"a": "b \\n\n ', '{"a ', '"{\\"a\\": ', '{"a": "\\" ']
)
def test_x1_blanks_in_an_open_string_are_content_and_stay(run: Run, partial: str) -> None:
    output = f"a{SECTION}{CALL}functions.run:0{ARGUMENT}{partial}"
    assert run(output, tools=TOOLS, truncated=True).calls == [("functions.run:0", partial)]


@pytest.mark.parametrize("step", [1, 2])
def test_a_blank_in_an_open_string_is_not_held(step: int) -> None:
    parser = OutputParser(VOCABULARY, tools=TOOLS)
    parser.feed(marked_ids(f'{SECTION}{CALL}functions.run:0{ARGUMENT}{{"a": "b'))
    pieces = [parser.feed(plain_ids(" " * step)) for _ in range(3)]
    assert pieces == [[ArgumentText(0, " " * step)]] * 3


def test_x1_calls_before_the_cut_one_are_complete(run: Run) -> None:
    output = f'a{SECTION}{call("functions.run:0")}{CALL}functions.run:1{ARGUMENT}{{"a'
    answer = run(output, tools=TOOLS, truncated=True)
    assert answer.calls == [("functions.run:0", "{}"), ("functions.run:1", '{"a')]
    assert CallEnd(0) in answer.events
    assert CallEnd(1) not in answer.events


@pytest.mark.parametrize("stray", [THINK, END_THINK, ARGUMENT, SECTION, "<|im_user|>"])
def test_r2_a_stray_marker_between_json_elements_is_removed(run: Run, stray: str) -> None:
    written = f'{{"a":{stray} 1}}'
    assert arguments_of(run, written) == ('{"a": 1}', {Repair.STRAY_MARKER: 1})


@pytest.mark.parametrize("step", [0, 1, 2, 7])
def test_l1_a_marker_written_as_ordinary_tokens_is_text_in_every_field(step: int) -> None:
    text = "<think></think><|tool_calls_section_begin|><|tool_call_end|><|im_end|>[EOS]"
    arguments = f'{{"a": "{text}"}}'
    ids = plain_ids(text)
    ids += marked_ids(END_THINK) + plain_ids(text)
    ids += marked_ids(f"{SECTION}{CALL}functions.run:0{ARGUMENT}")
    ids += plain_ids(arguments) + marked_ids(f"{END_CALL}{END}")
    answer = parse(Way("ids", step), ids, tools=TOOLS)
    assert answer.fields == (text, text)
    assert answer.calls == [("functions.run:0", arguments)]


@pytest.mark.parametrize("step", [0, 1, 2, 7])
@pytest.mark.parametrize(
    "written",
    [
        '{"a": "%s"}',
        '{"%s": 1}',
        '{"a": "\\\\", "b": "\\"%s\\\\"}',
        '["x", "%s"]',
        '{"a": [{"b": "\\\\\\\\"}, "%s\\n"]}',
        '{"a": {"b": ["", "%s"]}}',
    ],
)
def test_l1_on_the_text_front_a_marker_in_an_open_json_string_is_text(
    step: int, written: str
) -> None:
    markers = "<|tool_call_end|></think><|tool_calls_section_end|><|im_end|><think>"
    written = written.replace("%s", markers)
    answer = parse(Way("text", step), f"a{section(call('functions.run:0', written))}b", tools=TOOLS)
    assert answer.calls == [("functions.run:0", written)]
    assert answer.fields == ("a", "b")


@pytest.mark.parametrize("step", [0, 1, 2, 7])
@pytest.mark.parametrize("written", ['{"a": 1} it"s', 'it"s', '{"a": "b"}"'])
def test_l1_on_the_text_front_a_quote_outside_a_json_value_opens_no_string(
    step: int, written: str
) -> None:
    answer = parse(Way("text", step), f"a{section(call('functions.run:0', written))}b", tools=TOOLS)
    assert answer.calls == [("functions.run:0", written)]
    assert answer.fields == ("a", "b")


@pytest.mark.parametrize("step", [0, 1, 2, 7])
def test_l1_by_id_a_call_end_inside_a_string_ends_the_call(step: int) -> None:
    output = f'a{SECTION}{CALL}functions.run:0{ARGUMENT}{{"a": "b{END_CALL}'
    assert parse(Way("ids", step), output, tools=TOOLS).calls == [("functions.run:0", '{"a": "b')]


def test_id_and_name_come_once_and_first_then_exact_pieces_of_the_arguments() -> None:
    written = '{"a": "one two", "b": [1, 2]}'
    answer = parse(Way("ids", 1), f"a{section(call('functions.run:0', written))}", tools=TOOLS)
    start = answer.events.index(CallStart(0, "functions.run:0", "run"))
    pieces = [event for event in answer.events if isinstance(event, ArgumentText)]
    assert answer.events[start + 1] == pieces[0] == ArgumentText(0, "{")
    assert answer.events[start + 1 + len(pieces)] == CallEnd(0)
    assert "".join(piece.text for piece in pieces) == written
    blanks = written.count(": ") + written.count(", ")
    assert len(pieces) == len(written) - blanks  # each as it came, a blank with the next


def test_a_utf8_sequence_is_held_until_it_is_whole() -> None:
    parser = OutputParser(VOCABULARY, tools=None)
    pieces = [parser.feed([byte]) for byte in "é🙂".encode()]
    assert pieces == [[], [Reasoning("é")], [], [], [], [Reasoning("🙂")]]


@pytest.mark.parametrize("data", [b"a\xff\xfeb", b"\xf0\x9f", b"a\xe4\xb8", b"\xed\xa0\x80x"])
@pytest.mark.parametrize("step", [0, 1, 2])
def test_invalid_bytes_become_the_replacement_character_as_in_a_whole_decode(
    data: bytes, step: int
) -> None:
    answer = parse(Way("ids", step), list(data) + marked_ids(END_THINK) + list(data), tools=None)
    text = data.decode(errors="replace")
    assert answer.fields == (text, text)


def test_ids_outside_the_vocabulary_are_ignored_and_counted() -> None:
    ids = [-1, *plain_ids("a"), 10**9, *plain_ids("b")]
    answer = parse(Way("ids", 1), ids, tools=None)
    assert answer.fields == ("ab", "")
    assert answer.counters == {Repair.UNKNOWN_TOKEN: 2}
