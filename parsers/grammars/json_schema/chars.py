"""Sets of characters, and how a character of a set is written inside a JSON string.

A set is a tuple of ranges (first, last) of code points, sorted, not touching, without surrogates:
JSON can spell a lone surrogate, but no text holds one.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from itertools import groupby
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
_WITHOUT_LETTERS: Final = 0x40000  # no letter or digit from here on


class CharClass(NamedTuple):
    """A class of a pattern as ECMA-262 and as Python's `re` read it."""

    ecma: Ranges
    python: Ranges

    @property
    def sure(self) -> Ranges:
        """What both take for a member."""
        return intersect(self.ecma, self.python)

    @property
    def possible(self) -> Ranges:
        """What one of them takes for a member."""
        return union(self.ecma, self.python)


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


def unite(classes: Iterable[CharClass]) -> CharClass:
    """Return the class of the characters of any of them."""
    known = list(classes)
    return CharClass(union(*(c.ecma for c in known)), union(*(c.python for c in known)))


def negate(chars: CharClass) -> CharClass:
    """Return the class of all other characters."""
    return CharClass(complement(chars.ecma), complement(chars.python))


DIGITS: Final[Ranges] = ((0x30, 0x39),)
WORD: Final[Ranges] = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACES: Final = chars_of(
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
SPACE: Final = CharClass(
    union(_SPACES, chars_of("\ufeff")), union(_SPACES, chars_of("\x1c\x1d\x1e\x1f\x85"))
)
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
    found: dict[str, list[tuple[int, int]]] = {
        "Cn": [(_WITHOUT_LETTERS, 0xDFFFF), (0xE1000, 0xEFFFF), (0xFFFFE, 0xFFFFF)],
        "Co": [(0xF0000, 0xFFFFD), (0x100000, 0x10FFFD)],
    }
    found["Cn"].append((0x10FFFE, sys.maxunicode))
    for begin, end in ((0, _WITHOUT_LETTERS), (0xE0000, 0xE1000)):
        for category, run in groupby(
            range(begin, end), lambda code: unicodedata.category(chr(code))
        ):
            codes = list(run)
            found.setdefault(category, []).append((codes[0], codes[-1]))
    return {name: normalise(ranges) for name, ranges in found.items()}


def general_category(name: str) -> Ranges | None:
    """Return the characters of a general category ("L", "Lu"), None for a name that is none."""
    parts = [ranges for key, ranges in _categories().items() if key.startswith(name)]
    return union(*parts) if parts and 1 <= len(name) <= 2 else None


@lru_cache(4096)
def spelled(ranges: Ranges) -> str:
    """Return a Rust regex of every way to write one character of the set in a JSON string."""
    ways = [_class(intersect(ranges, _RAW))]
    short = "".join(name for code, name in _SHORT_ESCAPES.items() if _holds(ranges, code))
    after_backslash = [_class(chars_of(short))]
    basic = _hex_digits(intersect(ranges, ((0, _ASTRAL - 1),)), 4)
    if basic:
        after_backslash.append("u" + basic)
    after_backslash += _surrogate_pairs(intersect(ranges, ((_ASTRAL, sys.maxunicode),)))
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
    rests: list[list[tuple[int, int]]] = [[] for _ in _HEX]
    for first, last in ranges:
        for digit in range(first // size, last // size + 1):
            low = digit * size
            rests[digit].append((max(first - low, 0), min(last - low, size - 1)))
    digits_by_rest: dict[Ranges, str] = {}
    for name, rest in zip(_HEX, map(tuple, rests), strict=True):
        if rest:
            digits_by_rest[rest] = digits_by_rest.get(rest, "") + name
    ways = [
        _class(chars_of(digits + digits.upper())) + _hex_digits(rest, width - 1)
        for rest, digits in digits_by_rest.items()
    ]
    return _either(ways)


def _surrogate_pairs(ranges: Ranges) -> list[str]:
    """Return regexes of `uD83D\\uDE00` and the like, the first backslash left out."""
    lows: dict[int, list[tuple[int, int]]] = {}
    whole: list[tuple[int, int]] = []
    for first, last in ranges:
        high_a, low_a = divmod(first - _ASTRAL, 0x400)
        high_b, low_b = divmod(last - _ASTRAL, 0x400)
        if high_a == high_b:
            lows.setdefault(high_a, []).append((low_a, low_b))
            continue
        lows.setdefault(high_a, []).append((low_a, 0x3FF))
        lows.setdefault(high_b, []).append((0, low_b))
        whole += [(high_a + 1, high_b - 1)] if high_a + 1 < high_b else []
    highs_by_lows: dict[Ranges, list[tuple[int, int]]] = {((0, 0x3FF),): whole} if whole else {}
    for high, found in lows.items():
        highs_by_lows.setdefault(normalise(found), []).append((high, high))
    return [
        f"u{_hex_digits(_shift(normalise(highs), 0xD800), 4)}"
        f"\\\\u{_hex_digits(_shift(part, 0xDC00), 4)}"
        for part, highs in highs_by_lows.items()
    ]


def _shift(ranges: Ranges, offset: int) -> Ranges:
    return tuple((first + offset, last + offset) for first, last in ranges)
