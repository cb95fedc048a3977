"""Languages of texts as terminal expressions over the JSON spelling of those texts.

A language becomes Rust regexes in slashes, joined by Lark's `&` and `~`. Each spelling stands for
one text, so intersections and complements of texts are those of their spellings.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from .chars import ANY_CHAR, Ranges, has_all_spellings, intersect, spelled
from .regex_language import NOTHING, Both, Chars, Concat, Either, Language, Not, Repeat

NEVER: Final = r"/[^\x{0}-\x{10ffff}]/"
"""A terminal expression that nothing matches."""
_ASCII: Final = ((0, 0x7F),)


def spelling_expression(language: Language) -> str:
    """Return the terminal expression of all spellings of the language's texts, without quotes."""
    if _is_regular(language):
        return NEVER if language == NOTHING else _slashed(_regex(language))
    if isinstance(language, Concat):
        return f"({' '.join(_runs(language))})"
    if isinstance(language, Either):
        return f"({' | '.join(map(spelling_expression, language.parts))})"
    if isinstance(language, Repeat):
        return f"({spelling_expression(language.part)}){_quantifier(language)}"
    return _intersection(language)


def _intersection(language: Language) -> str:
    parts = language.parts if isinstance(language, Both) else (language,)
    ways = [f"({spelling_expression(part)})" for part in parts if not isinstance(part, Not)]
    kept_out = [f"~({spelling_expression(part.part)})" for part in parts if isinstance(part, Not)]
    is_narrow = not all(map(has_all_spellings, _sets(language)))
    if kept_out and (is_narrow or not ways):
        ways.append(_slashed(_any_spelling(is_narrow)))
    return f"({' & '.join(ways + kept_out)})"


def _any_spelling(is_narrow: bool) -> str:
    """Return the regex of all texts; narrow: outside ASCII in their plain spelling alone.

    That is what a complement is taken in when a class of it has not all its spellings.
    """
    if not is_narrow:
        return f"{spelled(ANY_CHAR)}*"
    plain = r"[\x{80}-\x{d7ff}\x{e000}-\x{10ffff}]"
    return f"(?:{plain}|{spelled(intersect(ANY_CHAR, _ASCII))})*"


def _runs(language: Concat) -> Iterator[str]:
    """Yield the parts, those without `&` and `~` as one regex where they stand together."""
    for is_regular, run in groupby(language.parts, _is_regular):
        if is_regular:
            yield _slashed("".join(map(_grouped, run)))
        else:
            yield from map(spelling_expression, run)


def _slashed(regex: str) -> str:
    return f"/{regex}/" if regex else '""'


def _regex(language: Language) -> str:
    if isinstance(language, Chars):
        return spelled(language.ranges)
    if isinstance(language, Concat):
        return "".join(map(_grouped, language.parts))
    if isinstance(language, Either):
        return "|".join(map(_regex, language.parts))
    assert isinstance(language, Repeat)
    return f"{_grouped(language.part, is_repeated=True)}{_quantifier(language)}"


def _grouped(language: Language, *, is_repeated: bool = False) -> str:
    is_one = isinstance(language, Chars)  # a group already
    if isinstance(language, Either) or (is_repeated and not is_one):
        return f"(?:{_regex(language)})"
    return _regex(language)


def _quantifier(language: Repeat) -> str:
    low, high = language.low, language.high
    simple = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((low, high))
    if simple is not None:
        return simple
    return f"{{{low}}}" if low == high else f"{{{low},{'' if high is None else high}}}"


def _sets(language: Language) -> list[Ranges]:
    if isinstance(language, Chars):
        return [language.ranges]
    return [ranges for part in language.children for ranges in _sets(part)]


def _is_regular(language: Language) -> bool:
    return not isinstance(language, Both | Not) and all(map(_is_regular, language.children))
