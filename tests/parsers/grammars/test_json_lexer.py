"""The JSON automaton refuses what no JSON reader or UTF-8 decoder would take."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglang_kimi.parsers.grammars.json_lexer import (
    OUTSIDE,
    REFUSED,
    START,
    STRING,
    Position,
    advance,
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=VALUES, is_ascii=st.booleans(), indent=st.sampled_from([None, 4]))
def test_all_json_that_python_writes_passes(value: object, is_ascii: bool, indent: int) -> None:
    text = json.dumps([value], ensure_ascii=is_ascii, indent=indent)
    assert advance(START, text.encode("utf-8", "surrogatepass")).state == OUTSIDE


@given(text=st.text(), cut=st.integers(0, 200))
def test_a_cut_between_bytes_does_not_matter(text: str, cut: int) -> None:
    data = json.dumps({"key": text, "n": 123}, ensure_ascii=False, indent=2).encode()
    assert advance(advance(START, data[:cut]), data[cut:]) == advance(START, data)


@given(data=st.binary(min_size=1, max_size=6))
def test_a_string_is_taken_only_if_it_is_utf8(data: bytes) -> None:
    position = advance(Position(STRING), data.replace(b"\\", b"").replace(b'"', b""))
    if position.state == STRING:
        data.replace(b"\\", b"").replace(b'"', b"").decode("utf-8")


@pytest.mark.parametrize("escape", [r"\ud800", r"\ud83d\n", r"\udc00", r"\ud83d\ud83d", r"\uDBFFx"])
def test_a_lone_surrogate_escape_is_refused(escape: str) -> None:
    assert advance(START, f'"{escape}"'.encode()).state == REFUSED


@pytest.mark.parametrize("escape", [r"\ud83d\ude00", r"\uD83D\uDE00", r"\ud7ff", r"\n", r"\/"])
def test_other_escapes_pass(escape: str) -> None:
    assert advance(START, f'"{escape}"'.encode()).state == OUTSIDE


@pytest.mark.parametrize("number", ["1e100", "1E+100", "-2.5e-1000"])
def test_an_exponent_that_leaves_the_doubles_is_refused(number: str) -> None:
    assert advance(START, f"[{number}]".encode()).state == REFUSED


@pytest.mark.parametrize("number", ["1e99", "-1.5E+10", "1e-300", "0.1", "9223372036854775807"])
def test_ordinary_numbers_pass(number: str) -> None:
    assert advance(START, f"[{number}]".encode()).state == OUTSIDE


def test_blanks_and_digits_are_counted_over_token_borders() -> None:
    position = advance(advance(START, b'{"a": \n'), b"   ")
    assert (position.num_blanks, position.num_digits) == (5, 0)
    position = advance(advance(position, b"-12"), b"345")
    assert (position.num_blanks, position.num_digits) == (0, 5)
    assert advance(advance(START, b'"x  '), b"   ").num_blanks == 0, "blanks in a string are text"
