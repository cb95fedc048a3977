"""JSON strings as terminals: any string, one string in all its spellings, strings under keywords.

Patterns and lengths speak of the text; the terminals are over its spelling in JSON, in which every
character may be escaped. Where ECMA-262 and Python's `re` read a class in different ways, only
what suits both passes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from .chars import ANY_CHAR, chars_of, spelled
from .formats import FORMAT_PATTERNS
from .probe import can_run
from .regex_language import (
    ANY,
    ANY_ONE,
    NOTHING,
    Both,
    Chars,
    Concat,
    Language,
    Not,
    Repeat,
    both,
    concat,
    length_bounds,
    negation,
    repeat,
    with_length,
)
from .regex_places import search_language
from .regex_search import find_texts
from .regex_syntax import PatternError, parse
from .spelling import NEVER, quoted_expression

__all__ = ["MAX_COUNTED_LENGTH", "StringTerminal", "any_string", "literal", "string_terminal"]

MAX_COUNTED_LENGTH: Final = 20_000
"""Longer `minLength` and `maxLength` aren't held: each place costs the lexer 4 KB of states."""

MAX_LENGTH_BESIDE_PATTERN: Final = 2000
"""Longer ones aren't held beside a pattern into which the count doesn't go."""

_FEW: Final = 64  # counts that need no trial


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
    return NEVER if language == NOTHING else quoted_expression(language)


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
    while True:
        lost = [rule.keyword for rule in rules if not rule.is_exact]
        language = both(rule.language for rule in rules)
        for low, high in _length_ways(min_length, max_length):
            counted, names = _with_length(language, low, high)
            names += ["minLength"] * (low != min_length) + ["maxLength"] * (high != max_length)
            terminal = _terminal(counted, _in_order([*lost, *names]))
            if terminal is not None:
                return terminal
        given_up = next(rule for rule in reversed(rules) if rule.language != ANY)
        rules[rules.index(given_up)] = _Rule(given_up.keyword, ANY, is_exact=False)


def _length_ways(low: int, high: int | None) -> list[tuple[int, int | None]]:
    """Return the lengths to try: both, the least, none."""
    return list(dict.fromkeys([(low, high), (low, None), (0, None)]))


def _pattern_rule(keyword: str, pattern: str, *, is_negated: bool = False) -> _Rule:
    try:
        found = search_language(parse(pattern), is_wide=is_negated)
    except PatternError:
        return _Rule(keyword, ANY, is_exact=False)
    if not is_negated:
        return _Rule(keyword, found.language, found.is_exact)
    return _Rule(keyword, negation(found.language) if found.is_exact else ANY, found.is_exact)


def _with_length(language: Language, low: int, high: int | None) -> tuple[Language, list[str]]:
    """Return the language's texts of `low` to `high` characters, and the keywords given up."""
    shortest, longest = length_bounds(language)
    names: list[str] = []
    if high is not None and high < low:
        return NOTHING, names
    if low > max(shortest, MAX_COUNTED_LENGTH):
        names.append("minLength")
        low = 0
    if high is not None and high > MAX_COUNTED_LENGTH and (longest is None or longest > high):
        names.append("maxLength")
        high = None
    counted = with_length(language, low, high)
    if counted is not None:
        return counted, names
    if low > MAX_LENGTH_BESIDE_PATTERN:
        names.append("minLength")
        low = 0
    if high is not None and high > MAX_LENGTH_BESIDE_PATTERN:
        names.append("maxLength")
        high = None
    return both([language, repeat(ANY_ONE, low, high)]), names


def _terminal(language: Language, relaxed: tuple[str, ...]) -> StringTerminal | None:
    """Return the terminal of the language's texts, None if llguidance can't run it."""
    if isinstance(language, Repeat) and language.part == ANY_ONE:
        samples: tuple[str, ...] = ("a" * language.low,)
    else:
        found = find_texts(language)
        samples = found.texts
        if found.is_whole and not samples:
            return StringTerminal(NEVER, relaxed, (), is_empty=True)
    expression = any_string() if language == ANY else quoted_expression(language)
    if _is_costly(language) and not can_run(expression, samples[:1]):
        return None
    return StringTerminal(expression, relaxed, samples, is_empty=False)


def _is_costly(language: Language) -> bool:
    """Return whether the lexer may need many states for it."""
    if isinstance(language, Both | Not):
        return True
    if isinstance(language, Repeat) and not isinstance(language.part, Chars):
        if max(language.low, language.high or 0) > _FEW:
            return True
    elif isinstance(language, Concat):
        counts = [part for part in language.parts if isinstance(part, Repeat)]
        if sum(max(part.low, part.high or 0) > _FEW for part in counts) > 1:
            return True
    return any(map(_is_costly, language.children))


def _literal_language(text: str) -> Language:
    return concat(Chars(chars_of(char)) for char in text)


def _in_order(keywords: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in keywords if word != "excluded"))
