"""Regular languages over characters: what a pattern means once its anchors and looks are gone.

Languages are built by the functions here, which simplify as they go: equal languages are often
equal objects, and an empty one that can be seen to be empty is `NOTHING`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Final

from .chars import ANY_CHAR, NO_CHAR, Ranges, intersect, union


class Language:
    """A set of strings. Compared by form, not by meaning."""

    __slots__ = ("_hash", "is_nullable", "key")
    _KIND = 0  # numbers alone go into the hash: it orders parts, the same in every process

    def __init__(self, key: tuple[object, ...], is_nullable: bool) -> None:
        self.key = key
        self.is_nullable = is_nullable  # whether the empty string is in it
        self._hash = hash((self._KIND, key))

    @property
    def children(self) -> tuple[Language, ...]:
        """The languages it is made of."""
        return ()

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            type(self) is type(other)
            and isinstance(other, Language)
            and self._hash == other._hash
            and self.key == other.key
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.key}"


class Chars(Language):
    """One character of a set."""

    __slots__ = ("ranges",)
    _KIND = 1

    def __init__(self, ranges: Ranges) -> None:
        super().__init__((ranges,), False)
        self.ranges = ranges


class _Compound(Language):
    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Language, ...], is_nullable: bool) -> None:
        super().__init__(parts, is_nullable)
        self.parts = parts

    @property
    def children(self) -> tuple[Language, ...]:
        return self.parts


class Concat(_Compound):
    """One string of each part, one after the other; without parts, the empty string."""

    __slots__ = ()
    _KIND = 2


class Either(_Compound):
    """The strings of any part."""

    __slots__ = ()
    _KIND = 3


class Both(_Compound):
    """The strings that every part holds."""

    __slots__ = ()
    _KIND = 4


class Not(Language):
    """The strings that the part doesn't hold."""

    __slots__ = ("part",)
    _KIND = 5

    def __init__(self, part: Language) -> None:
        super().__init__((part,), not part.is_nullable)
        self.part = part

    @property
    def children(self) -> tuple[Language, ...]:
        return (self.part,)


class Repeat(Language):
    """`low` to `high` strings of the part, one after the other; high None is no limit."""

    __slots__ = ("high", "low", "part")
    _KIND = 6

    def __init__(self, part: Language, low: int, high: int | None) -> None:
        super().__init__((part, low, -1 if high is None else high), low == 0 or part.is_nullable)
        self.part, self.low, self.high = part, low, high

    @property
    def children(self) -> tuple[Language, ...]:
        return (self.part,)


NOTHING: Final = Chars(NO_CHAR)
EMPTY: Final = Concat((), True)
ANY_ONE: Final = Chars(ANY_CHAR)
ANY: Final = Repeat(ANY_ONE, 0, None)


def concat(parts: Iterable[Language]) -> Language:
    """Return the strings made of one string of each part."""
    flat: list[Language] = []
    for part in parts:
        if part == NOTHING:
            return NOTHING
        for piece in part.parts if isinstance(part, Concat) else (part,):
            if not (piece == ANY and flat and flat[-1] == ANY):
                flat.append(piece)
    if len(flat) == 1:
        return flat[0]
    return Concat(tuple(flat), all(part.is_nullable for part in flat)) if flat else EMPTY


def either(parts: Iterable[Language]) -> Language:
    """Return the strings of any of the parts."""
    found: dict[Language, None] = {}
    for part in parts:
        if part == ANY:
            return ANY
        found |= dict.fromkeys(part.parts if isinstance(part, Either) else (part,))
    single = [part for part in found if isinstance(part, Chars)]
    others = [part for part in found if not isinstance(part, Chars)]
    if ANY_TEXT in found and any(part.is_nullable for part in others):
        return ANY
    ranges = union(*(part.ranges for part in single))
    if ranges:
        others.append(Chars(ranges))
    if len(others) == 1:
        return others[0]
    others.sort(key=hash)  # one form whatever the order
    return Either(tuple(others), any(part.is_nullable for part in others)) if others else NOTHING


def both(parts: Iterable[Language]) -> Language:
    """Return the strings that every part holds."""
    found: dict[Language, None] = {}
    for part in parts:
        found |= dict.fromkeys(part.parts if isinstance(part, Both) else (part,))
    found.pop(ANY, None)
    if not found:
        return ANY
    if NOTHING in found or any(isinstance(p, Not) and p.part in found for p in found):
        return NOTHING
    if EMPTY in found:
        return EMPTY if all(part.is_nullable for part in found) else NOTHING
    if all(isinstance(part, Chars) for part in found):
        sets = [part.ranges for part in found if isinstance(part, Chars)]
        return Chars(reduce(intersect, sets))
    if len(found) == 1:
        return next(iter(found))
    ordered = tuple(sorted(found, key=hash))
    return Both(ordered, all(part.is_nullable for part in ordered))


def negation(part: Language) -> Language:
    """Return the strings that `part` doesn't hold."""
    if isinstance(part, Not):
        return part.part
    if part == NOTHING:
        return ANY
    return NOTHING if part == ANY else Not(part)


def repeat(part: Language, low: int, high: int | None) -> Language:
    """Return the strings of `low` to `high` strings of the part (None: no limit)."""
    if high is not None and high < low:
        return NOTHING
    if part == NOTHING:
        return EMPTY if low == 0 else NOTHING
    if high == 0 or part == EMPTY:
        return EMPTY
    if part.is_nullable:
        low = 0
    if (low, high) == (1, 1):
        return part
    if isinstance(part, Repeat) and part.low <= 1 and part.high is None:
        return repeat(part.part, min(part.low, low), None)
    return Repeat(part, low, high)


ANY_TEXT: Final = Repeat(ANY_ONE, 1, None)


def length_bounds(language: Language) -> tuple[int, int | None]:
    """Return (shortest, longest) lengths in characters that its strings can't go beyond."""
    if isinstance(language, Chars):
        return 1, 1
    if isinstance(language, Not):
        return 0, None
    if isinstance(language, Repeat):
        low, high = length_bounds(language.part)
        unlimited = high is None or language.high is None
        return low * language.low, None if unlimited else (high or 0) * (language.high or 0)
    assert isinstance(language, _Compound)
    bounds = [length_bounds(part) for part in language.parts]
    highs = [high for _, high in bounds if high is not None]
    if isinstance(language, Both):
        return max(low for low, _ in bounds), min(highs, default=None)
    longest = None if len(highs) < len(bounds) else highs
    if isinstance(language, Either):
        return min(low for low, _ in bounds), None if longest is None else max(longest)
    return sum(low for low, _ in bounds), None if longest is None else sum(longest)


def with_first(language: Language, ranges: Ranges) -> Language:
    """Return the strings of the language that begin with a character of the set."""
    return _with_edge(language, ranges, is_first=True)


def with_last(language: Language, ranges: Ranges) -> Language:
    """Return the strings of the language that end with a character of the set."""
    return _with_edge(language, ranges, is_first=False)


def _with_edge(language: Language, ranges: Ranges, *, is_first: bool) -> Language:
    if isinstance(language, Chars):
        return Chars(intersect(language.ranges, ranges))
    if isinstance(language, Either):
        return either(_with_edge(part, ranges, is_first=is_first) for part in language.parts)
    if isinstance(language, Repeat) and isinstance(language.part, Chars):
        high = None if language.high is None else language.high - 1
        rest = repeat(language.part, max(language.low - 1, 0), high)
        edge = Chars(intersect(language.part.ranges, ranges))
        return concat([edge, rest] if is_first else [rest, edge])
    if isinstance(language, Concat) and language.parts:
        parts = list(language.parts)
        place = 0 if is_first else -1
        if not parts[place].is_nullable:
            parts[place] = _with_edge(parts[place], ranges, is_first=is_first)
            return concat(parts)
    edge = Chars(ranges)
    return both([language, concat([edge, ANY] if is_first else [ANY, edge])])
