"""What holds for every output: the order of events, streams, both fronts, no marker in a field."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from sglang_kimi.parsers import vocabulary as v
from sglang_kimi.parsers.events import (
    ArgumentText,
    CallEnd,
    CallStart,
    Event,
    Finish,
    ParsedOutput,
    collect,
)
from sglang_kimi.parsers.output_parser import OutputParser
from sglang_kimi.parsers.text_front import MARKERS, TextFront
from sglang_kimi.parsers.vocabulary import TokenVocabulary

from .random_outputs import Case

_MARKER = re.compile("|".join([*map(re.escape, MARKERS), r"<\|reserved_token_\d+\|>"]))


def check_case(vocabulary: TokenVocabulary, case: Case) -> bool:
    """Check all; AssertionError names what fails. Returns whether the text front was compared."""
    ids = case.token_ids
    whole, events, counters = _by_ids(vocabulary, case, [(0, len(ids))])
    check_output(events, case.request["history_call_ids"])
    streamed, events, counted = _by_ids(vocabulary, case, _portions(case, len(ids)))
    assert streamed == whole, f"streamed: {streamed}\nwhole:    {whole}"
    assert counted == counters, f"streamed: {counted}\nwhole:    {counters}"
    check_output(events, case.request["history_call_ids"])
    _check_no_marker(vocabulary, ids, whole)
    text = _text_of(vocabulary, case)
    if text is None:
        return False
    for portions in ([(0, len(text))], _portions(case, len(text))):
        by_text, events, counted = _by_text(case, text, portions)
        assert by_text == whole, f"by text: {by_text}\nby ids:  {whole}"
        assert counted == counters, f"by text: {counted}\nby ids:  {counters}"
        check_output(events, case.request["history_call_ids"])
    return True


def borders(length: int, places: Sequence[int]) -> list[tuple[int, int]]:
    """Return the portions of a sequence cut at these places; empty portions too."""
    return list(pairwise([0, *sorted(min(place, length) for place in places), length]))


def _portions(case: Case, length: int) -> list[tuple[int, int]]:
    return borders(length, case.cuts or range(length))


def check_events(events: Sequence[Event]) -> None:
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


def check_output(events: Sequence[Event], history: Sequence[str] | int) -> None:
    """Check what a client may rely on."""
    check_events(events)
    output = collect(events)
    ids = [call.id for call in output.tool_calls]
    assert len({*ids}) == len(ids)
    if not isinstance(history, int):
        assert not {*ids} & {*history}
    assert all(call.id.startswith(f"functions.{call.name}:") for call in output.tool_calls)
    "\0".join(_fields(output)).encode()  # no lone surrogates: every field can be sent
    if output.finish_reason != "length":
        assert output.finish_reason == ("tool_calls" if output.tool_calls else "stop")


def _fields(output: ParsedOutput) -> list[str]:
    fields = [output.reasoning, output.content]
    return fields + [t for call in output.tool_calls for t in (call.id, call.name, call.arguments)]


def _by_ids(
    vocabulary: TokenVocabulary, case: Case, portions: Sequence[tuple[int, int]]
) -> tuple[ParsedOutput, list[Event], Counter[str]]:
    parser = OutputParser(vocabulary, **case.request)
    events: list[Event] = []
    for start, end in portions:
        events += parser.feed(case.token_ids[start:end])
    events += parser.finish(case.truncated)
    return collect(events), events, parser.counters


def _by_text(
    case: Case, text: str, portions: Sequence[tuple[int, int]]
) -> tuple[ParsedOutput, list[Event], Counter[str]]:
    front = TextFront(**case.request)
    events: list[Event] = []
    for start, end in portions:
        events += front.feed(text[start:end])
    events += front.finish(case.truncated)
    return collect(events), events, front.counters


def _check_no_marker(
    vocabulary: TokenVocabulary, token_ids: Sequence[int], output: ParsedOutput
) -> None:
    """Check that no control text is in a field, unless the ordinary tokens spell it."""
    ordinary = vocabulary.ordinary_tokens
    data = b"".join(ordinary[i] for i in token_ids if 0 <= i < len(ordinary))
    written = data.decode(errors="replace")
    for marker in (*MARKERS, v.EOS):
        if marker not in written:
            assert all(marker not in text for text in _fields(output)), f"{marker} in {output}"


def _text_of(vocabulary: TokenVocabulary, case: Case) -> str | None:
    """Return the output as text, None where text cannot tell what the ids say.

    That is where ordinary text spells a marker, a marker stands in an open JSON string, or a token
    is none that the text front knows.
    """
    runs: list[bytes | str] = [b""]  # bytes of ordinary tokens and markers, in turn
    parser = OutputParser(vocabulary, **case.request)
    ordinary = vocabulary.ordinary_tokens
    for place, token_id in enumerate(case.token_ids):
        if 0 <= token_id < len(ordinary):
            runs[-1] += ordinary[token_id]
        elif len(ordinary) <= token_id < vocabulary.size:
            json = parser._machine.open_json
            marker = vocabulary.control_text(token_id) or ""
            is_last = place == len(case.token_ids) - 1
            if not _MARKER.fullmatch(marker) and not (marker == v.EOS and is_last):
                return None
            if json is not None and json.in_string:
                return None
            runs += [marker, b""]
        else:
            return None
        parser.feed([token_id])
    texts = [run if isinstance(run, str) else run.decode(errors="replace") for run in runs]
    text = "".join(texts)
    if texts[-2:-1] == [v.EOS]:
        texts = [*texts[:-3], texts[-3] + v.EOS]
    elif text.endswith(v.EOS):
        return None
    return text if re.split(f"({_MARKER.pattern})", text) == texts else None
