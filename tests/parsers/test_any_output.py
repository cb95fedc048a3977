"""What holds for every output, valid, damaged or random, and for every way to cut it."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sglang_kimi.parsers import vocabulary as v
from sglang_kimi.parsers.events import ArgumentText, CallEnd, CallStart, Event, Finish, collect
from sglang_kimi.parsers.output_parser import OutputParser
from sglang_kimi.parsers.text_front import TextFront

from .fakes import CONTROL_TEXTS, NUM_RANKS, VOCABULARY, Answer, Way, marked_ids, parse, tool

TOOLS = [tool("run", "x"), tool("a:1", "y"), tool("run_all", "x", optional=["y"])]
HISTORIES: list[list[str] | int] = [0, 2, ["functions.run:0", "call_x", "functions.run:3"]]

# Whole strings and no half ones, so that no marker falls into an open JSON string.
FRAGMENTS = [
    *("functions.", "functions.run:0", "functions.a:1:0", "run", "run:1", "nope:7", "call_9", "3"),
    *('{"x": "1"}', "{}", '{"y": [1, "}"]}', '"{\\"x\\": 1}"', '"t"', "[1, ", "{", "}", "null"),
    *(
        " ",
        "\n",
        "text",
        "é",
        "漢",
        "🙂",
        "<",
        "</thi",
        "<|tool_calls_",
        "|>",
        "<think",
        ":",
        "y" * 600,
    ),
]
BROKEN_FRAGMENTS = ['"', "\\", '{"x": "', '\\"', '"}']
BROKEN_BYTES = [b"\xf0\x9f", b"\x99", b"\xff", b"\xc3", b"\xe6\xbc"]

markers = st.sampled_from(CONTROL_TEXTS)
spelt_markers = st.sampled_from([text for text in CONTROL_TEXTS if text != v.EOS])
cuts = st.lists(st.integers(0, 400), max_size=12)
requests = st.fixed_dictionaries(
    {
        "tools": st.sampled_from([TOOLS, TOOLS[:1], None]),
        "history_call_ids": st.sampled_from(HISTORIES),
        "starts_in_thinking": st.booleans(),
    }
)


@st.composite
def token_outputs(draw: st.DrawFn) -> list[int]:
    """Draw ids: markers, sensible and broken fragments, broken UTF-8, ids out of range."""
    pieces = draw(
        st.lists(
            markers.map(marked_ids)
            | st.sampled_from(FRAGMENTS + BROKEN_FRAGMENTS).map(lambda text: list(text.encode()))
            | st.sampled_from(BROKEN_BYTES).map(list)
            | st.just([-1, 10**6]),
            max_size=25,
        )
    )
    return [token_id for piece in pieces for token_id in piece]


text_outputs = st.lists(
    spelt_markers | st.sampled_from(FRAGMENTS + BROKEN_FRAGMENTS), max_size=25
).map("".join)
unbroken_outputs = st.lists(spelt_markers | st.sampled_from(FRAGMENTS), max_size=25)


def borders(length: int, places: list[int]) -> list[tuple[int, int]]:
    """Return the portions of a sequence cut at these places; empty portions too."""
    return list(pairwise([0, *sorted(min(place, length) for place in places), length]))


def check_events(events: list[Event]) -> None:
    """Check the order that a caller may rely on."""
    assert [type(event) for event in events].count(Finish) == 1
    assert isinstance(events[-1], Finish)
    open_index, num_calls = -1, 0
    for event in events:
        match event:
            case CallStart(index):
                assert (index, open_index) == (num_calls, -1)
                open_index, num_calls = index, num_calls + 1
            case ArgumentText(index, text):
                assert index == open_index
                assert text
            case CallEnd(index):
                assert index == open_index
                open_index = -1
    assert open_index == -1 or events[-1] == Finish("length")


def check_output(events: list[Event], history: list[str] | int) -> None:
    """Check what a client may rely on."""
    check_events(events)
    output = collect(events)
    ids = [call.id for call in output.tool_calls]
    assert len({*ids}) == len(ids)
    if isinstance(history, list):
        assert not {*ids} & {*history}
    assert all(call.id.startswith(f"functions.{call.name}:") for call in output.tool_calls)
    fields = [output.reasoning, output.content]
    fields += [text for call in output.tool_calls for text in (call.id, call.name, call.arguments)]
    joined = "\0".join(fields)
    joined.encode()  # no lone surrogates: every field can be sent
    if output.finish_reason != "length":
        assert output.finish_reason == ("tool_calls" if output.tool_calls else "stop")


@settings(max_examples=400, deadline=None)
@given(ids=token_outputs(), places=cuts, request=requests, truncated=st.booleans())
def test_any_ids_give_the_same_answer_for_every_split(
    ids: list[int], places: list[int], request: dict[str, Any], truncated: bool
) -> None:
    whole = OutputParser(VOCABULARY, **request)
    expected = whole.feed(ids) + whole.finish(truncated)
    parser = OutputParser(VOCABULARY, **request)
    events: list[Event] = []
    for start, end in borders(len(ids), places):
        events += parser.feed(ids[start:end])
    events += parser.finish(truncated)
    assert collect(events) == collect(expected)
    assert parser.counters == whole.counters
    check_output(events, request["history_call_ids"])


@settings(max_examples=400, deadline=None)
@given(text=text_outputs, places=cuts, request=requests, truncated=st.booleans())
def test_any_text_gives_the_same_answer_for_every_split(
    text: str, places: list[int], request: dict[str, Any], truncated: bool
) -> None:
    whole = TextFront(**request)
    expected = whole.feed(text) + whole.finish(truncated)
    front = TextFront(**request)
    events: list[Event] = []
    for start, end in borders(len(text), places):
        events += front.feed(text[start:end])
    events += front.finish(truncated)
    assert collect(events) == collect(expected)
    assert front.counters == whole.counters
    check_output(events, request["history_call_ids"])


@settings(max_examples=400, deadline=None)
@given(pieces=unbroken_outputs, step=st.integers(0, 9), truncated=st.booleans())
@example(pieces=["<", v.THINK_CLOSE], step=1, truncated=False)
def test_text_and_ids_agree_wherever_no_marker_is_in_an_open_string(
    pieces: list[str], step: int, truncated: bool
) -> None:
    ids = [token_id for piece in pieces for token_id in _piece_ids(piece)]
    output = "".join(pieces)
    by_id = parse(Way("ids", 0), ids, tools=TOOLS, truncated=truncated)
    by_text = parse(Way("text", step), output, tools=TOOLS, truncated=truncated)
    if marked_ids(output) == ids:  # fragments may also join up to a marker
        assert by_text.output == by_id.output
        assert by_text.counters == by_id.counters


def _piece_ids(piece: str) -> list[int]:
    return marked_ids(piece) if piece in CONTROL_TEXTS else list(piece.encode())


@settings(max_examples=300, deadline=None)
@given(
    ids=st.lists(
        st.integers(NUM_RANKS, VOCABULARY.size - 1) | st.sampled_from(list(b'ru{}":0 x\n')),
        max_size=60,
    ),
    truncated=st.booleans(),
)
def test_no_control_token_ever_appears_in_a_field(ids: list[int], truncated: bool) -> None:
    answer: Answer = parse(Way("ids", 3), ids, tools=TOOLS, truncated=truncated)
    fields = repr(answer.output)
    assert "<" not in fields
    assert "|" not in fields


@pytest.mark.parametrize("front", ["ids", "text"])
def test_after_the_end_nothing_more_comes(front: str) -> None:
    if front == "ids":
        parser = OutputParser(VOCABULARY, tools=None)
        assert parser.finish(False) == [Finish("stop")]
        assert parser.feed(b"more") == []
    else:
        text = TextFront(tools=None)
        assert text.finish(False) == [Finish("stop")]
        assert text.feed("more") == []
