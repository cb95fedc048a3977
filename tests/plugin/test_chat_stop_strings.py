"""Stop strings are cut from the parsed text, whole and streamed alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglang_kimi.chat.stop_strings import StopStrings
from sglang_kimi.parsers.events import (
    ArgumentText,
    CallStart,
    Content,
    Finish,
    Reasoning,
    collect,
)


def cut(pieces, stops, matched):
    """Feed all pieces but the last, end with it, and add up what comes out."""
    filter_ = StopStrings(stops)
    events = [event for piece in pieces[:-1] for event in filter_.feed([Content(piece)])]
    return collect(events + filter_.finish([Content(pieces[-1])], matched)).content


def test_without_stop_strings_every_event_passes_at_once():
    assert StopStrings([]).feed([Content("a")]) == [Content("a")]


def test_the_matched_string_and_what_its_token_holds_behind_it_are_cut():
    assert cut(["one END, two"], ["END"], "END") == "one "


@pytest.mark.parametrize("matched", [None, 7, "other"])
def test_an_end_by_anything_else_cuts_nothing(matched):
    assert cut(["one END"], ["END"], matched) == "one END"


def test_a_string_that_did_not_end_the_answer_stays_in_it():
    # With min_tokens SGLang passes over early matches.
    assert cut(["a END b ", "c END"], ["END"], "END") == "a END b c "


def test_a_beginning_that_comes_to_nothing_is_released():
    filter_ = StopStrings(["END"])
    assert filter_.feed([Content("an E")]) == [Content("an ")]
    assert filter_.feed([Content("gg")]) == [Content("Egg")]


def test_a_held_beginning_is_released_when_the_field_changes():
    filter_ = StopStrings(["END"])
    filter_.feed([Reasoning("think E")])
    assert filter_.feed([Content("x")]) == [Reasoning("E"), Content("x")]


def test_arguments_are_cut_too():
    filter_ = StopStrings(["END"])
    start = CallStart(0, "functions.f:0", "f")
    events = filter_.feed([start, ArgumentText(0, '{"a": "E')])
    events += filter_.finish([ArgumentText(0, "ND"), Finish("stop")], "END")
    assert collect(events).tool_calls[0].arguments == '{"a": "'


@given(
    st.text(alphabet="ab", max_size=12),
    st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=3),
    st.data(),
)
def test_chunk_borders_do_not_matter(text, stops, data):
    matched = data.draw(st.sampled_from([None, *stops]))
    if matched is not None:
        text += matched
    at = data.draw(st.integers(0, len(text) - len(matched or "")))
    other = data.draw(st.integers(0, at))
    pieces = [text[:other], text[other:at], text[at:]]
    assert cut(pieces, stops, matched) == cut([text], stops, matched)
