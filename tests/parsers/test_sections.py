"""Sections and damaged markers: decisions C1 to C3, R1 and X2."""

from collections.abc import Callable

import pytest

from sglang_kimi.parsers.events import Reasoning
from sglang_kimi.parsers.repairs import Repair

from .fakes import (
    ARGUMENT,
    CALL,
    END,
    END_CALL,
    END_SECTION,
    END_THINK,
    SECTION,
    Answer,
    Way,
    call,
    parse,
    section,
    tool,
)

Run = Callable[..., Answer]
TOOLS = [tool("run", "x"), tool("stop")]
FIRST = call("functions.run:0", '{"x": 1}')
SECOND = call("functions.stop:1", "{}")
BOTH = [("functions.run:0", '{"x": 1}'), ("functions.stop:1", "{}")]


def test_an_empty_section_is_no_call_and_is_counted(run: Run) -> None:
    answer = run(f"a{END_THINK}b{section()}{END}", tools=TOOLS)
    assert (answer.calls, answer.reason) == ([], "stop")
    assert answer.fields == ("a", "b")
    assert answer.counters == {Repair.EMPTY_SECTION: 1}


def test_content_and_calls_stand_side_by_side(run: Run) -> None:
    answer = run(f"a{END_THINK}b{section(FIRST, SECOND)}{END}", tools=TOOLS)
    assert answer.fields == ("a", "b")
    assert (answer.calls, answer.reason) == (BOTH, "tool_calls")
    assert not answer.counters


def test_c1_text_inside_a_section_outside_calls_is_dropped_and_counted(run: Run) -> None:
    output = f"a{section('x', FIRST, 'y', SECOND, 'z')}{END}"
    answer = run(output, tools=TOOLS)
    assert answer.fields == ("a", "")
    assert answer.calls == BOTH
    assert answer.counters == {Repair.SECTION_TEXT_DROPPED: 3}


def test_c1_blanks_between_calls_are_dropped_without_being_counted(run: Run) -> None:
    nl = "\n"
    answer = run(f"a{section(nl, FIRST, nl, SECOND, nl)}{END}", tools=TOOLS)
    assert (answer.fields, answer.calls) == (("a", ""), BOTH)
    assert not answer.counters


def test_c2_text_after_a_section_is_appended_to_the_content(run: Run) -> None:
    answer = run(f"a{END_THINK}b {section(FIRST)}\nc{END}", tools=TOOLS)
    assert answer.fields == ("a", "b \nc")
    assert answer.reason == "tool_calls"


def test_c3_all_calls_of_several_sections_in_order(run: Run) -> None:
    answer = run(f"a{section(FIRST)}b{section(SECOND)}c{END}", tools=TOOLS)
    assert answer.fields == ("a", "bc")
    assert answer.calls == BOTH


MISSING = {
    "section begin": f"{FIRST}{SECOND}{END_SECTION}",
    "both section markers": f"{FIRST}{SECOND}",
    "section end": f"{SECTION}{FIRST}{SECOND}",
    "last call end": f"{SECTION}{FIRST}{SECOND.removesuffix(END_CALL)}{END_SECTION}",
    "last call and section end": f"{SECTION}{FIRST}{SECOND.removesuffix(END_CALL)}",
    "call end between calls": section(FIRST.removesuffix(END_CALL), SECOND),
    "call begin": section(FIRST.removeprefix(CALL), SECOND),
    "second call begin": section(FIRST, SECOND.removeprefix(CALL)),
    "call begin after a newline": section("\n", FIRST.removeprefix(CALL), SECOND),
    "argument begin": section(FIRST.replace(ARGUMENT, ""), SECOND),
    "argument begin, blanks": section(FIRST.replace(ARGUMENT, "\n"), SECOND),
    "argument begin, nothing there": section(FIRST, f"{CALL}functions.stop:1{END_CALL}"),
    "argument begin and call end": section(FIRST.replace(ARGUMENT, "").removesuffix(END_CALL))
    + section(SECOND),
    "section end before a new section": f"{SECTION}{FIRST}{SECTION}{SECOND}{END_SECTION}",
    "call and section end before a new one": f"{SECTION}{FIRST.removesuffix(END_CALL)}"
    f"{section(SECOND)}",
}
DOUBLED = {
    "section begin": f"{SECTION}{section(FIRST, SECOND)}",
    "section begin, a line apart": f"{SECTION}\n{section(FIRST, SECOND)}",
    "section end": f"{section(FIRST, SECOND)}{END_SECTION}",
    "call begin": section(f"{CALL}{FIRST}", SECOND),
    "call begin, a blank apart": section(f"{CALL} {FIRST}", SECOND),
    "call begin before the section": f"{CALL}{section(FIRST, SECOND)}",
    "argument begin": section(FIRST.replace(ARGUMENT, ARGUMENT * 2), SECOND),
    "call end": section(FIRST, END_CALL, SECOND, END_CALL),
    "section begin inside the call": section(FIRST.replace(ARGUMENT, ARGUMENT + SECTION), SECOND),
}


@pytest.mark.parametrize("output", MISSING.values(), ids=MISSING)
@pytest.mark.parametrize("before", ["a", f"a{END_THINK}"], ids=["thinking", "content"])
def test_r1_a_missing_marker_is_repaired_and_counted(run: Run, before: str, output: str) -> None:
    answer = run(f"{before}{output}{END}", tools=TOOLS)
    assert answer.calls == BOTH
    assert answer.fields == ("a", "")
    assert answer.reason == "tool_calls"
    assert answer.counters[Repair.MISSING_MARKER] + answer.counters[Repair.DOUBLED_MARKER] >= 1


@pytest.mark.parametrize("output", DOUBLED.values(), ids=DOUBLED)
@pytest.mark.parametrize("before", ["a", f"a{END_THINK}"], ids=["thinking", "content"])
def test_r1_a_doubled_marker_is_repaired_and_counted(run: Run, before: str, output: str) -> None:
    answer = run(f"{before}{output}{END}", tools=TOOLS)
    assert answer.calls == BOTH
    assert answer.fields == ("a", "")
    assert answer.counters[Repair.DOUBLED_MARKER] + answer.counters[Repair.STRAY_MARKER] >= 1


def test_r1_text_after_a_call_without_section_is_content(run: Run) -> None:
    answer = run(f"a{END_THINK}b{FIRST}c{END}", tools=TOOLS)
    assert (answer.fields, answer.calls) == (("a", "bc"), BOTH[:1])


def test_r1_thinking_after_complete_arguments_ends_the_call(run: Run) -> None:
    answer = run(f"a{SECTION}{FIRST.removesuffix(END_CALL)}<think>b{END_THINK}{END}", tools=TOOLS)
    assert (answer.fields, answer.calls) == (("ab", ""), BOTH[:1])


def test_r1_an_object_without_any_id_or_marker_goes_to_the_tool_that_it_fits(run: Run) -> None:
    answer = run("a" + section(CALL + '{"x": 1}' + END_CALL), tools=TOOLS)
    assert answer.calls == BOTH[:1]


def test_r1_a_call_of_neither_id_nor_arguments_is_none_and_is_counted(run: Run) -> None:
    answer = run("a" + section(CALL + END_CALL) + END, tools=TOOLS)
    assert (answer.calls, answer.reason) == ([], "stop")
    assert answer.counters == {Repair.CALL_WITHOUT_ARGUMENTS: 1}


@pytest.mark.parametrize("before", ["", END_THINK], ids=["thinking", "content"])
@pytest.mark.parametrize("text", ["and more", "", " ", "x: 1", "y" * 2000, "run, {x}", "é\nz\n"])
@pytest.mark.parametrize("marker", [END_THINK, END_SECTION, "", END])
def test_r2_a_call_marker_outside_a_section_without_a_call_is_stray_and_the_text_stays(
    run: Run, before: str, text: str, marker: str
) -> None:
    answer = run(f"a{before}b {CALL}{text}{marker}", tools=TOOLS)
    assert answer.calls == []
    assert "".join(answer.fields) == f"ab {text}"
    assert answer.counters[Repair.STRAY_MARKER] >= 1


def test_r2_a_stray_call_marker_does_not_hide_the_end_of_the_thinking(run: Run) -> None:
    answer = run(f"a {CALL}b{END_THINK}c{END}", tools=TOOLS)
    assert (answer.fields, answer.calls) == (("a b", "c"), [])
    assert answer.counters == {Repair.STRAY_MARKER: 1}


def test_r2_text_behind_a_stray_call_marker_is_not_held_for_ever() -> None:
    way = Way("ids", 1)
    answer = parse(way, f"{CALL}{'y' * 2000}", tools=TOOLS)
    pieces = [len(event.text) for event in answer.events if isinstance(event, Reasoning)]
    assert max(pieces) < 600
    assert sum(pieces) == 2000


@pytest.mark.parametrize("cut", ["", "f", "functions.", "functions.run", "functions.run:0"])
@pytest.mark.parametrize("truncated", [True, False])
def test_x2_a_call_cut_inside_its_id_is_not_returned(run: Run, cut: str, truncated: bool) -> None:
    answer = run(f"a{SECTION}{FIRST}{CALL}{cut}", tools=TOOLS, truncated=truncated)
    assert answer.calls == BOTH[:1]
    assert answer.fields == ("a", "")
    assert answer.reason == ("length" if truncated else "tool_calls")
    assert answer.counters[Repair.CUT_ID] == 1


def test_x2_the_only_call_cut_inside_its_id_leaves_length_and_no_call(run: Run) -> None:
    answer = run(f"a{END_THINK}b{SECTION}{CALL}functions.ru", tools=TOOLS, truncated=True)
    assert (answer.calls, answer.fields, answer.reason) == ([], ("a", "b"), "length")


def test_x2_a_cut_id_outside_a_section_is_no_content(run: Run) -> None:
    answer = run(f"a{END_THINK}b{CALL}functions.ru", tools=TOOLS, truncated=True)
    assert (answer.calls, answer.fields) == ([], ("a", "b"))


@pytest.mark.parametrize("output", [SECTION, f"{SECTION}x", f"{SECTION}{FIRST}x", section(FIRST)])
def test_x4_a_cut_in_or_behind_a_section_keeps_the_complete_calls(run: Run, output: str) -> None:
    answer = run(f"a{output}", tools=TOOLS, truncated=True)
    assert answer.calls == (BOTH[:1] if FIRST in output else [])
    assert (answer.fields, answer.reason) == (("a", ""), "length")
