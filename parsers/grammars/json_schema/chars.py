"""Sets of characters, and how a character of a set is written inside a JSON string.

A set is a tuple of ranges (first, last) of code points, sorted, not touching, without surrogates:
JSON can spell a lone surrogate, but no text holds one.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

Ranges = tuple[tuple[int, int], ...]

NO_CHAR: Final[Ranges] = ()
ANY_CHAR: Final[Ranges] = ((0, 0xD7FF), (0xE000, sys.maxunicode))
_ASTRAL: Final = 0x10000
_RAW: Final[Ranges] = ((0x20, 0x21), (0x23, 0x5B), (0x5D, 0xD7FF), (0xE000, sys.maxunicode))
_SHORT_ESCAPES: Final = {
    **{0x08: "b", 0x09: "t", 0x0A: "n", 0x0C: "f", 0x0D: "r"},
    **{0x22: '"', 0x2F: "/", 0x5C: "\\"},
}
_HEX: Final = "0123456789abcdef"
_MAX_SPELLED_RANGES: Final = 40
_WITHOUT_LETTERS: Final = 0x40000  # no letter or digit from here on


class CharClass(NamedTuple):
    """A class of a pattern as two sets, since ECMA-262 and Python's `re` read some differently.

    sure: what both take for a member. possible: what one of them does.
    """

    sure: Ranges
    possible: Ranges


def normalise(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Return the same code points as sorted ranges that neither touch nor hold surrogates."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    if any(last >= 0xD800 and first <= 0xDFFF for first, last in merged):
        return intersect(tuple(merged), ANY_CHAR)
    return tuple(merged)


def union(*sets: Ranges) -> Ranges:
    """Return the characters of any of the sets."""
    return normalise(pair for ranges in sets for pair in ranges)


@lru_cache(4096)
def intersect(left: Ranges, right: Ranges) -> Ranges:
    """Return the characters of both sets."""
    found: list[tuple[int, int]] = []
    i = j = 0
    while i < len(left) and j < len(right):
        first, last = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if first <= last:
            found.append((first, last))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


@lru_cache(4096)
def complement(ranges: Ranges) -> Ranges:
    """Return all other characters."""
    gaps, begin = [], 0
    for first, last in ranges:
        if begin < first:
            gaps.append((begin, first - 1))
        begin = last + 1
    if begin <= sys.maxunicode:
        gaps.append((begin, sys.maxunicode))
    return intersect(tuple(gaps), ANY_CHAR)


def chars_of(text: str) -> Ranges:
    """Return the set of the characters of `text`."""
    return normalise((ord(char), ord(char)) for char in text)


def exactly(ranges: Ranges) -> CharClass:
    """Return a class that both dialects read alike."""
    return CharClass(ranges, ranges)


def negate(chars: CharClass) -> CharClass:
    """Return the class of all other characters."""
    return CharClass(complement(chars.possible), complement(chars.sure))


DIGITS: Final[Ranges] = ((0x30, 0x39),)
WORD: Final[Ranges] = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACES: Final = normalise(
    ((9, 13), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029))
    + ((0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000))
)
SPACE: Final = CharClass(_SPACES, union(_SPACES, ((0x1C, 0x1F), (0x85, 0x85), (0xFEFF, 0xFEFF))))
DOT: Final = CharClass(complement(chars_of("\n\r\u2028\u2029")), complement(chars_of("\n")))


@cache
def digit_class() -> CharClass:
    """Return `\\d`, which in Python holds the digits of every script."""
    return CharClass(DIGITS, _python_class(r"\d+"))


@cache
def word_class() -> CharClass:
    """Return `\\w`, which in Python holds the letters of every script."""
    return CharClass(WORD, _python_class(r"\w+"))


def _python_class(pattern: str) -> Ranges:
    every = "".join(map(chr, range(_WITHOUT_LETTERS)))
    return normalise((a.start(), a.end() - 1) for a in re.finditer(pattern, every))


@cache
def _categories() -> dict[str, Ranges]:
    found: dict[str, list[tuple[int, int]]] = {}
    category, begin = unicodedata.category("\0"), 0
    for code in range(1, sys.maxunicode + 2):
        here = unicodedata.category(chr(code)) if code <= sys.maxunicode else ""
        if here != category:
            found.setdefault(category, []).append((begin, code - 1))
            category, begin = here, code
    return {name: normalise(ranges) for name, ranges in found.items()}


def general_category(name: str) -> Ranges | None:
    """Return the characters of a general category ("L", "Lu"), None for a name that is none."""
    parts = [ranges for key, ranges in _categories().items() if key.startswith(name)]
    return union(*parts) if parts and 1 <= len(name) <= 2 else None


def has_all_spellings(ranges: Ranges) -> bool:
    """Return whether `spelled` writes the set's characters outside ASCII as `\\u` escapes too."""
    return len(ranges) <= _MAX_SPELLED_RANGES


@lru_cache(4096)
def spelled(ranges: Ranges) -> str:
    """Return a Rust regex of every way to write one character of the set in a JSON string.

    Sets of very many ranges (letters of all scripts) have only the plain spelling outside ASCII.
    """
    escaped = ranges if has_all_spellings(ranges) else intersect(ranges, ((0, 0x7F),))
    ways = [_class(intersect(ranges, _RAW))]
    short = "".join(name for code, name in _SHORT_ESCAPES.items() if _holds(ranges, code))
    after_backslash = [_class(chars_of(short))]
    basic = _hex_digits(intersect(escaped, ((0, _ASTRAL - 1),)), 4)
    if basic:
        after_backslash.append("u" + basic)
    after_backslash += _surrogate_pairs(intersect(escaped, ((_ASTRAL, sys.maxunicode),)))
    if any(after_backslash):
        ways.append("\\\\" + _either(after_backslash))
    return f"(?:{'|'.join(way for way in ways if way)})"


def _holds(ranges: Ranges, code: int) -> bool:
    return any(first <= code <= last for first, last in ranges)


def _either(ways: Sequence[str]) -> str:
    ways = [way for way in ways if way]
    return ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})"


def _class(ranges: Ranges) -> str:
    if not ranges:
        return ""
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _char(ranges[0][0])
    body = "".join(_char(a) if a == b else f"{_char(a)}-{_char(b)}" for a, b in ranges)
    return f"[{body}]"


def _char(code: int) -> str:
    char = chr(code)
    return char if char.isascii() and char.isalnum() else f"\\x{{{code:x}}}"


def _hex_digits(ranges: Ranges, width: int) -> str:
    """Return a regex of the numbers in `ranges` as `width` hex digits of either case."""
    if not ranges or width == 0:
        return ""
    if ranges == ((0, 16**width - 1),):
        return "[0-9a-fA-F]" + (f"{{{width}}}" if width > 1 else "")
    size = 16 ** (width - 1)
    digits_by_rest: dict[Ranges, str] = {}
    for number, digit in enumerate(_HEX):
        low = number * size
        part = intersect(ranges, ((low, low + size - 1),))
        if part:
            rest = tuple((first - low, last - low) for first, last in part)
            digits_by_rest[rest] = digits_by_rest.get(rest, "") + digit
    ways = [
        _class(chars_of(digits + digits.upper())) + _hex_digits(rest, width - 1)
        for rest, digits in digits_by_rest.items()
    ]
    return _either(ways)


def _surrogate_pairs(ranges: Ranges) -> list[str]:
    """Return regexes of `uD83D\\uDE00` and the like, the first backslash left out."""
    lows_by_high: dict[Ranges, list[tuple[int, int]]] = {}
    cuts = {0, 0x400}
    pairs = [(divmod(a - _ASTRAL, 0x400), divmod(b - _ASTRAL, 0x400)) for a, b in ranges]
    for (high_a, _), (high_b, _) in pairs:
        cuts |= {high_a, high_a + 1, high_b, high_b + 1}
    borders = sorted(cuts)
    for begin, end in pairwise(borders):
        lows = normalise(
            (low_a if begin == high_a else 0, low_b if begin == high_b else 0x3FF)
            for (high_a, low_a), (high_b, low_b) in pairs
            if high_a <= begin <= high_b
        )
        if lows:
            lows_by_high.setdefault(lows, []).append((begin, end - 1))
    return [
        f"u{_hex_digits(_shift(normalise(highs), 0xD800), 4)}"
        f"\\\\u{_hex_digits(_shift(lows, 0xDC00), 4)}"
        for lows, highs in lows_by_high.items()
    ]


def _shift(ranges: Ranges, offset: int) -> Ranges:
    return tuple((first + offset, last + offset) for first, last in ranges)
