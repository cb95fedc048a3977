"""JSON strings as terminals: any string, one string in all its spellings, strings under keywords.

Patterns and lengths speak of the text; the terminals are over its spelling in JSON, in which every
character may be escaped. Where ECMA-262 and Python's `re` read a class in different ways, only
what suits both passes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

from .chars import ANY_CHAR, chars_of, spelled
from .formats import FORMAT_PATTERNS
from .regex_language import (
    ANY,
    ANY_ONE,
    NOTHING,
    Chars,
    Language,
    Repeat,
    both,
    concat,
    length_bounds,
    negation,
    repeat,
)
from .regex_places import search_language
from .regex_search import find_texts
from .regex_syntax import PatternError, parse
from .spelling import NEVER, spelling_expression

__all__ = ["MAX_COUNTED_LENGTH", "StringTerminal", "any_string", "literal", "string_terminal"]

MAX_COUNTED_LENGTH: Final = 20_000
"""Longer `minLength` and `maxLength` aren't held: each place costs the lexer 4 KB of states."""


@dataclass(frozen=True)
class StringTerminal:
    """A terminal of the JSON strings that some keywords allow, quotes included.

    expression: names no other terminal. relaxed: keywords that it doesn't hold ("pattern",
    "format", "minLength", "maxLength"). samples: decoded strings that satisfy all that is held,
    shortest first; none if there is none, or none was found soon. is_empty: there is none.
    """

    expression: str
    relaxed: tuple[str, ...]
    samples: tuple[str, ...]
    is_empty: bool


@cache
def any_string() -> str:
    """Return the terminal expression of any JSON string, quotes included."""
    return f'/"{spelled(ANY_CHAR)}*"/'


@lru_cache(4096)
def literal(text: str) -> str:
    """Return the terminal expression of every JSON spelling of `text`, quotes included.

    Nothing matches it if the text holds a lone surrogate, which UTF-8 can't carry.
    """
    language = _literal_language(text)
    return NEVER if language == NOTHING else _quoted(language)


def string_terminal(
    *,
    patterns: Sequence[str] = (),
    not_patterns: Sequence[str] = (),
    min_length: int = 0,
    max_length: int | None = None,
    formats: Sequence[str] = (),
    excluded: Sequence[str] = (),
) -> StringTerminal:
    """Return the terminal of the strings that satisfy all of it.

    patterns, not_patterns: regexes that are, or aren't, found in the string (ECMA-262 with the u
    flag). min_length, max_length: characters. formats: unknown ones allow everything, as in JSON
    Schema. excluded: strings that may not be.
    """
    return _string_terminal(
        tuple(patterns), tuple(not_patterns), min_length, max_length, tuple(formats),
        tuple(excluded),
    )  # fmt: skip


@dataclass(frozen=True)
class _Rule:
    """What one keyword allows, as far as it can be held."""

    keyword: str
    language: Language
    is_exact: bool = True


@lru_cache(1024)
def _string_terminal(
    patterns: tuple[str, ...],
    not_patterns: tuple[str, ...],
    min_length: int,
    max_length: int | None,
    formats: tuple[str, ...],
    excluded: tuple[str, ...],
) -> StringTerminal:
    known = [FORMAT_PATTERNS[name] for name in formats if name in FORMAT_PATTERNS]
    rules = [
        *(_pattern_rule("format", pattern) for pattern in known),
        *(_pattern_rule("pattern", pattern) for pattern in patterns),
        *(_pattern_rule("pattern", pattern, is_negated=True) for pattern in not_patterns),
        *(_Rule("excluded", negation(_literal_language(text))) for text in excluded),
    ]
    if max_length is not None and max_length < min_length:
        rules.append(_Rule("maxLength", NOTHING))
    else:
        rules += _length_rules(rules, min_length, max_length)
    lost = [rule.keyword for rule in rules if not rule.is_exact]
    while True:
        terminal = _terminal([rule.language for rule in rules], _in_order(lost))
        if terminal is not None:
            return terminal
        lost.append(rules.pop().keyword)  # lengths first, then the last of the patterns


def _pattern_rule(keyword: str, pattern: str, *, is_negated: bool = False) -> _Rule:
    try:
        found = search_language(parse(pattern), is_wide=is_negated)
    except PatternError:
        return _Rule(keyword, ANY, is_exact=False)
    if not is_negated:
        return _Rule(keyword, found.language, found.is_exact)
    return _Rule(keyword, negation(found.language) if found.is_exact else ANY, found.is_exact)


def _length_rules(rules: list[_Rule], low: int, high: int | None) -> Iterator[_Rule]:
    """Yield the lengths that the other rules don't imply."""
    shortest, longest = length_bounds(both(rule.language for rule in rules))
    is_low_held = low <= shortest
    is_high_held = high is None or (longest is not None and longest <= high)
    if not is_low_held and low > MAX_COUNTED_LENGTH:
        yield _Rule("minLength", ANY, is_exact=False)
        is_low_held = True
    if not is_high_held and high is not None and high > MAX_COUNTED_LENGTH:
        yield _Rule("maxLength", ANY, is_exact=False)
        is_high_held = True
    if not (is_low_held and is_high_held):
        keyword = "minLength" if is_high_held else "maxLength"
        counted = repeat(ANY_ONE, 0 if is_low_held else low, None if is_high_held else high)
        yield _Rule(keyword, counted)


def _terminal(languages: list[Language], relaxed: tuple[str, ...]) -> StringTerminal | None:
    """Return the terminal of what all the languages hold, None if llguidance refuses it."""
    language = both(_counted_together(languages))
    if isinstance(language, Repeat) and language.part == ANY_ONE:
        samples: tuple[str, ...] = ("a" * language.low,)
    else:
        found = find_texts(language)
        samples = found.texts
        if found.is_whole and not samples:
            return StringTerminal(NEVER, relaxed, (), is_empty=True)
    expression = any_string() if language == ANY else _quoted(language)
    is_simple = isinstance(language, Repeat) and isinstance(language.part, Chars)
    if not (is_simple or _can_run(expression, samples)):
        return None
    return StringTerminal(expression, relaxed, samples, is_empty=False)


def _counted_together(languages: list[Language]) -> list[Language]:
    """Return the languages with two counts of single characters made one where they meet."""
    counts = [part for part in languages if isinstance(part, Repeat) and part.part == ANY_ONE]
    runs = [part for part in languages if isinstance(part, Repeat) and isinstance(part.part, Chars)]
    if len(runs) != 2 or not counts:
        return languages
    count = counts[0]
    run = next(part for part in runs if part is not count)
    highs = [part.high for part in (run, count) if part.high is not None]
    together = repeat(run.part, max(run.low, count.low), min(highs, default=None))
    return [part for part in languages if part is not run and part is not count] + [together]


def _literal_language(text: str) -> Language:
    return concat(Chars(chars_of(char)) for char in text)


def _quoted(language: Language) -> str:
    expression = spelling_expression(language)
    return rf'("\"" {expression} "\"")'


def _in_order(keywords: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(keyword for keyword in keywords if keyword != "excluded"))


def _can_run(expression: str, samples: tuple[str, ...]) -> bool:
    """Return whether llguidance takes the terminal and finds its way through the samples."""
    from llguidance import LLMatcher

    matcher = LLMatcher(
        _byte_tokenizer(),
        LLMatcher.grammar_from_lark(f"start: T\nT: {expression}\n"),
        log_level=0,
    )
    return not matcher.is_error()


@cache
def _byte_tokenizer() -> Any:
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Bytes()), slices=[])


class _Bytes:
    """Every byte is a token, 256 ends the text: the form that llguidance asks for."""

    eos_token_id = 256
    bos_token_id = None
    tokens = (*(bytes([byte]) for byte in range(256)), b"\xff[end]")
    special_token_ids = (256,)

    def __call__(self, data: bytes | str) -> list[int]:
        return list(data.encode() if isinstance(data, str) else data)
