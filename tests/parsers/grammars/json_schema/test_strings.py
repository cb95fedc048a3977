"""String terminals: every spelling of the strings that the keywords allow, and nothing else."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sglang_kimi.parsers.grammars.json_schema.strings import (
    MAX_COUNTED_LENGTH,
    any_string,
    literal,
    string_terminal,
)

from .spellings import accepts_terminal, any_spelling, escape

HELD = [
    r"^[a-z0-9-]{1,63}$", r"^\S+$", r"^(?!.*\.\.)", r"^[^\s@]+@[^\s@]+\.[^\s@]+$", r"\S", r"^$|^x",
    r"a|^b$", r"(?=.*1)a", r"^.{1,50}$", r"\w+", r"[\w.-]+", r"^\d{4}-\d{2}-\d{2}$", r"^v?\d+\.\d+",
    r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", r"^/", r"^(/[^/]+)+/?$",
    r"^https?://\S+$", r"^[A-Z][A-Z0-9_]*$", r"^#?([a-fA-F0-9]{3}){1,2}$", r"^\+?[1-9]\d{1,14}$",
    r"^(foo|bar)?$", r"^(?:a|b)*c$", r"^a{2,3}$", r"^a{,2}$", r"a{2}", r"x*", r"^[^\"\\]*$", r"\\",
    r'"', r"^\s*$", r"^[\s\S]*$", r"^\D+$", r"^\W$", r"^[^\n]+$", r"\n", r"\t|\r", r"^\x41\u0042$",
    r"\bfoo\b", r"\Bo", r"^(?!-)[A-Za-z0-9-]{1,63}(?<!-)$", r"^(?=.*[A-Z])(?=.*\d).{4,}$",
    r"^(?:(?!foo).)*$", r"(?<!\.git)$", r"(?<=a)b", r"a(?!b)", r"a(?=b|$)", r"(?:^|,)x",
    r"x(?:,|$)", r"^((?!-)[a-z0-9-]{1,9}(?<!-)\.)+[a-z]{2,6}$", r"^(?P<n>a)b$",
    r"^(?!.*--)[a-z-]+(?<!-)$",
    r"^[^x]$", r"[^x]", r"^\.{1,2}/", r"^\$\{[a-z]+\}$", r"^[+-]?\d+$", r"^(?!(con|nul)$)\w+$",
    r"^(\w+,)*\w+$", r"[\u4e00-\u9fff]", r"^[à-ÿ]+$", r"😀|é", r"^a.b$", r"^(a|ab)(c|bcd)$",
    r"^(?:a?b?)*$", r"^a$|^b$|c", r"^(?!$)", r"(^a|b)+c$", r"^(?!a)(?!b)", r"^$", r"(?<=a.)b(?!c)",
    r"\.(?:js|ts)x?$", r"^(?:[a-z]+:)?//", r"^(?<year>\d{4})$", r"^[\w-]+(?:\.[\w-]+)*$", r"(?:)",
    r"^(?!.*foo).*(?<!bar)$", r"^(?:x(?:,|$))+", r"a(?!.*b)", r"(?<!aa)b",
    r"^(?!foo)(?!.*bar$)", r"^(?:(?!ab)[a-c]){2,}$", r"^x(?!\d)\w*$", r"^\w+(?:\b-\b\w+)?$",
    r"^[a-z]+(?: [a-z]+)*$", r"^\{.*\}$", r"^(?:\d{1,3}\.){3}\d{1,3}$", r"^[^<>:\"/\\|?*]+$",
    r"^(?!\.)(?!.*\.$)[a-z.]+$", r"^(?:today|\d+[dhm])$", r"^[A-Z]{2,}-\d+$", r"^refs/heads/",
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[\w.-]+)?(\+[\w.-]+)?$", r"^[\w\s]+$", r"^[ -~]*$",
]  # fmt: skip
"""Patterns as tool schemas have them, and forms that are easy to get wrong."""

LETTERS = 'abcfox01.-,/ @:"\\\n\té😀日\x00\x7fABZ$_{}+#<'


def is_found(pattern: str, text: str) -> bool:
    """Return whether ECMA-262 and Python both find the pattern; only for texts of LETTERS."""
    python = pattern.replace("(?<year>", "(?P<year>")
    ecma = re.sub(r"(?<!\\)\$(?!\\)", r"\\Z", python)
    return bool(re.search(ecma, text) and re.search(ecma, text, re.ASCII))


@st.composite
def texts_near(draw: st.DrawFn, pattern: str) -> str:
    """Draw a text of LETTERS, or a sample of the pattern with a character more, less or changed."""
    samples = string_terminal(patterns=[pattern]).samples
    text = draw(st.sampled_from(samples) | st.text(LETTERS, max_size=8))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 1))
        text = text[:place] + draw(st.text(LETTERS, max_size=2)) + text[place + cut :]
    return text


@pytest.mark.parametrize("pattern", HELD)
def test_a_spelling_passes_exactly_if_its_text_has_the_pattern(pattern: str) -> None:
    terminal = string_terminal(patterns=[pattern])
    assert terminal.relaxed == ()

    @settings(max_examples=20)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        text = data.draw(texts_near(pattern))
        spelling = data.draw(any_spelling(text))
        assert accepts_terminal(terminal.expression, spelling) == is_found(pattern, text)

    check()


@settings(max_examples=100)
@given(st.data())
def test_a_pattern_that_may_not_be_found_keeps_its_texts_out(data: st.DataObject) -> None:
    pattern = data.draw(st.sampled_from(HELD))
    terminal = string_terminal(not_patterns=[pattern])
    text = data.draw(texts_near(pattern))
    spelling = data.draw(any_spelling(text))
    python = pattern.replace("(?<year>", "(?P<year>")
    ecma = re.sub(r"(?<!\\)\$(?!\\)", r"\\Z", python)
    is_kept_out = bool(re.search(ecma, text) or re.search(ecma, text, re.ASCII))
    assert terminal.relaxed == ()
    if not terminal.is_empty:
        assert accepts_terminal(terminal.expression, spelling) != is_kept_out


@settings(max_examples=100)
@given(st.data())
def test_pattern_and_length_hold_together(data: st.DataObject) -> None:
    pattern = data.draw(st.sampled_from(HELD))
    low = data.draw(st.integers(0, 6))
    high = data.draw(st.none() | st.integers(low, 9))
    terminal = string_terminal(patterns=[pattern], min_length=low, max_length=high)
    text = data.draw(texts_near(pattern))
    is_fitting = is_found(pattern, text) and low <= len(text) <= (99 if high is None else high)
    assert terminal.relaxed == ()
    if not terminal.is_empty:
        spelling = data.draw(any_spelling(text))
        assert accepts_terminal(terminal.expression, spelling) == is_fitting
    assert not (terminal.is_empty and is_fitting)


@pytest.mark.parametrize("pattern", HELD)
def test_samples_have_the_pattern(pattern: str) -> None:
    terminal = string_terminal(patterns=[pattern])
    assert terminal.samples
    for sample in terminal.samples:
        assert is_found(pattern, sample)
        assert accepts_terminal(terminal.expression, json.dumps(sample))


@pytest.mark.parametrize(
    "pattern", ["foo.{20}bar", "[01]*1[01]{14}$", "^.{500}$", r"^(?=.*\d)[a-z\d]{30}$"]
)
def test_samples_of_patterns_with_many_states_are_found(pattern: str) -> None:
    sample = string_terminal(patterns=[pattern]).samples[0]
    assert is_found(pattern, sample)


@given(st.data())
def test_every_spelling_of_every_text_is_a_string(data: st.DataObject) -> None:
    text = data.draw(st.text())
    assert accepts_terminal(any_string(), data.draw(any_spelling(text)))


@settings(max_examples=100)
@given(st.data())
def test_a_literal_has_every_spelling_of_its_text_and_no_other(data: st.DataObject) -> None:
    text = data.draw(st.text(max_size=5))
    other = data.draw(st.text(max_size=5) | st.just(text.swapcase()))
    assert accepts_terminal(literal(text), data.draw(any_spelling(text)))
    spelling = data.draw(any_spelling(other))
    assert accepts_terminal(literal(text), spelling) == (other == text)


@given(st.data())
def test_an_excluded_text_never_passes_however_it_is_spelled(data: st.DataObject) -> None:
    excluded = data.draw(st.lists(st.text("ab/", max_size=3), max_size=3))
    text = data.draw(st.text("ab/", max_size=3))
    terminal = string_terminal(excluded=excluded)
    spelling = data.draw(any_spelling(text))
    assert accepts_terminal(terminal.expression, spelling) == (text not in excluded)


@pytest.mark.parametrize("text", ["\x00", "\n", "\t", "\x1f"])
@pytest.mark.parametrize("pattern", [None, r"[\s\S]", r"^[^x]+$", r"^(?!x)"])
def test_a_raw_control_character_never_passes(pattern: str | None, text: str) -> None:
    terminal = string_terminal(patterns=[pattern] if pattern else [])
    assert not accepts_terminal(terminal.expression, f'"{text}"')
    assert accepts_terminal(terminal.expression, f'"{escape(text)}"')


@pytest.mark.parametrize(
    "inside",
    [
        *(b"\xff", b"\xc3", b"\xc3(", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\xaf", b"\x80"),
        *(rb"\ud800", rb"\udc00", rb"\ud800\u0041", rb"\ud800x", rb"\udc00\ud800", rb"\x41"),
        *(rb"\u12", rb"\'", rb"\ud83d\ud83d\ude00", rb"\a", b'"', b"\\"),
    ],
)
@pytest.mark.parametrize("pattern", [None, r"^[^x]*$", r"^(?!x)", r"^\W*$", r"\P{Lu}"])
def test_what_is_no_text_never_passes(pattern: str | None, inside: bytes) -> None:
    for terminal in (
        string_terminal(patterns=[pattern] if pattern else []),
        string_terminal(not_patterns=["x"]),
        string_terminal(patterns=[pattern] if pattern else [], excluded=["a"], max_length=9),
    ):
        assert not accepts_terminal(terminal.expression, b'"' + inside + b'"')


def test_classes_of_all_scripts_hold_in_every_spelling() -> None:
    letters = string_terminal(patterns=[r"^\p{L}+$"])
    assert letters.relaxed == ()
    assert accepts_terminal(letters.expression, '"aéЖ日𐐀"')
    assert accepts_terminal(letters.expression, f'"{escape("Ж日𐐀")}"')
    assert not accepts_terminal(letters.expression, '"a1"')
    others = string_terminal(patterns=[r"^(?!.*\p{L})"])
    assert accepts_terminal(others.expression, '"12 !"')
    assert not accepts_terminal(others.expression, '"1Ж"')
    assert not accepts_terminal(others.expression, f'"1{escape("Ж")}"')


def test_what_only_one_dialect_takes_does_not_pass() -> None:
    word = string_terminal(patterns=[r"^\w+$"]).expression
    assert not accepts_terminal(word, '"é"')  # a word character to Python alone
    other = string_terminal(patterns=[r"^\W+$"]).expression
    assert not accepts_terminal(other, '"é"')  # none to ECMA-262 alone
    assert not accepts_terminal(string_terminal(patterns=["a$"]).expression, r'"a\n"')


def test_case_is_disregarded_where_the_pattern_says_so() -> None:
    terminal = string_terminal(patterns=["(?i)^get$"])
    assert accepts_terminal(terminal.expression, '"GeT"')
    assert not accepts_terminal(terminal.expression, '"GeTs"')


@pytest.mark.parametrize(
    "pattern",
    ["(", "[", "a**", "(?>a)", r"(['\"])x\1", "[z-a]", "*", r"\p{Nope}", "a{3,2}", r"\q", "a++"],
)
def test_a_pattern_that_is_not_held_is_named_and_any_string_passes(pattern: str) -> None:
    terminal = string_terminal(patterns=[pattern])
    assert terminal.relaxed == ("pattern",)
    assert accepts_terminal(terminal.expression, r'"\u0027x\u0027"')


@pytest.mark.parametrize(
    ("pattern", "low", "high"),
    [
        *(("^a$", 5, None), ("^a{3}$", 0, 2), ("^$", 1, None), (None, 2, 1), ("x^", 0, None)),
        *(("^a(?=b)$", 0, None), ("^(?=a)b", 0, None), (r"^(?!\w)\w", 0, None)),
    ],
)
def test_keywords_that_no_string_satisfies_are_known_to(
    pattern: str | None, low: int, high: int | None
) -> None:
    patterns = [pattern] if pattern else []
    terminal = string_terminal(patterns=patterns, min_length=low, max_length=high)
    assert terminal.is_empty
    assert terminal.samples == ()
    assert not accepts_terminal(terminal.expression, '"a"')


def test_a_length_beyond_what_is_counted_is_named() -> None:
    over = MAX_COUNTED_LENGTH + 1
    assert string_terminal(max_length=over).relaxed == ("maxLength",)
    assert string_terminal(min_length=10**12).relaxed == ("minLength",)
    assert string_terminal(patterns=["^a$"], max_length=over).relaxed == ()


@pytest.mark.parametrize("high", [1, 20, 2000])
def test_the_longest_string_passes_in_every_spelling_and_one_more_character_does_not(
    high: int,
) -> None:
    terminal = string_terminal(max_length=high).expression
    for char in ("a", "é", "😀", "\\n", '\\"', "\\u0041", "\\ud83d\\ude00"):
        assert accepts_terminal(terminal, f'"{char * high}"')
        assert not accepts_terminal(terminal, f'"{char * high}{char}"')


def test_a_length_that_llguidance_cannot_count_beside_a_pattern_is_named() -> None:
    terminal = string_terminal(patterns=["foo.{20}bar"], max_length=1000)
    assert terminal.relaxed == ("maxLength",)
    assert accepts_terminal(terminal.expression, f'"foo{"x" * 20}bar"')
    assert not accepts_terminal(terminal.expression, '"foobar"')


def test_the_least_length_holds_where_the_greatest_cannot() -> None:
    pattern = r"^(?=.*[a-z])(?=.*[A-Z])(?=.*\d)(?=.*[@$!%*?&])[A-Za-z\d@$!%*?&]+$"
    terminal = string_terminal(patterns=[pattern], min_length=8, max_length=128)
    assert "minLength" not in terminal.relaxed
    assert not accepts_terminal(terminal.expression, '"aA1@aaa"')
    assert accepts_terminal(terminal.expression, '"aA1@aaaa"')
    assert accepts_terminal(terminal.expression, f'"aA1@{"a" * 125}"') == bool(terminal.relaxed)


@pytest.mark.parametrize("high", [8, 40, 128, 1000, 2000])
@pytest.mark.parametrize("pattern", [r"^(?!.*\.\.)(?!/).*$", r"\w", r"^[a-z]+(-[a-z]+)*$", "a.*b"])
def test_a_length_beside_a_pattern_is_held_or_named(pattern: str, high: int) -> None:
    terminal = string_terminal(patterns=[pattern], max_length=high)
    longest = "a" + "b" * (high - 1)
    assert accepts_terminal(terminal.expression, f'"{longest}"')
    is_longer_taken = accepts_terminal(terminal.expression, f'"{longest}b"')
    assert is_longer_taken == (terminal.relaxed == ("maxLength",))


@pytest.mark.parametrize(
    ("pattern", "least", "most"),
    [(r"^\S+$", "a", "a" * 5000), (r"^/.*$", "/", "/" * 5000), ("^[^/].*[^/]$", "aa", "a" * 5000)],
)
def test_a_long_length_goes_into_a_pattern_of_one_varying_part(
    pattern: str, least: str, most: str
) -> None:
    terminal = string_terminal(patterns=[pattern], min_length=1, max_length=5000)
    assert terminal.relaxed == ()
    assert accepts_terminal(terminal.expression, f'"{least}"')
    assert accepts_terminal(terminal.expression, f'"{most}"')
    assert not accepts_terminal(terminal.expression, f'"{most}a"')
