"""What schemas ask of strings and numbers, merged, and checked against one value."""

import json
import math
import re
from dataclasses import dataclass, field
from fractions import Fraction

Bound = int | float


@dataclass(frozen=True, slots=True)
class StringRules:
    """What a string must be, lengths in characters (code points)."""

    patterns: tuple[str, ...] = ()
    not_patterns: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    least: int = 0
    most: int | None = None
    pointer: str = field(default="", compare=False)

    def both(self, other: "StringRules") -> "StringRules":
        most = [bound for bound in (self.most, other.most) if bound is not None]
        return StringRules(
            patterns=_union(self.patterns, other.patterns),
            not_patterns=_union(self.not_patterns, other.not_patterns),
            formats=_union(self.formats, other.formats),
            least=max(self.least, other.least),
            most=min(most, default=None),
            pointer=self.pointer or other.pointer,
        )

    @property
    def is_possible(self) -> bool:
        if set(self.patterns) & set(self.not_patterns):
            return False
        return self.most is None or self.least <= self.most

    def take(self, text: str) -> bool:
        """Return whether a string, given as JSON, fits; a pattern that Python can't read does."""
        value = json.loads(text)
        if len(value) < self.least or (self.most is not None and len(value) > self.most):
            return False
        return all(_matches(p, value, True) for p in self.patterns) and not any(
            _matches(p, value, False) for p in self.not_patterns
        )


@dataclass(frozen=True, slots=True)
class NumberRules:
    """What a number must be: within the bounds, and a multiple of each of `multiples`."""

    minimum: Bound | None = None
    maximum: Bound | None = None
    above: Bound | None = None
    below: Bound | None = None
    multiples: tuple[Bound, ...] = ()
    is_plain: bool = False
    """Whether integers are digits alone: no point, no exponent."""
    pointer: str = field(default="", compare=False)

    def both(self, other: "NumberRules") -> "NumberRules":
        return NumberRules(
            minimum=_tighter(max, self.minimum, other.minimum),
            maximum=_tighter(min, self.maximum, other.maximum),
            above=_tighter(max, self.above, other.above),
            below=_tighter(min, self.below, other.below),
            multiples=tuple(dict.fromkeys(self.multiples + other.multiples)),
            is_plain=self.is_plain or other.is_plain,
            pointer=self.pointer or other.pointer,
        )

    @property
    def is_possible(self) -> bool:
        low = _tighter(max, self.minimum, self.above)
        high = _tighter(min, self.maximum, self.below)
        if low is None or high is None or low < high:
            return True
        return low == high and low not in (self.above, self.below)

    def take(self, text: str) -> bool:
        """Return whether a number, given as JSON, fits."""
        value = json.loads(text)
        if self.minimum is not None and value < self.minimum:
            return False
        if self.maximum is not None and value > self.maximum:
            return False
        if self.above is not None and value <= self.above:
            return False
        if self.below is not None and value >= self.below:
            return False
        return all(Fraction(text) % Fraction(str(m)) == 0 for m in self.multiples)

    def step(self) -> Bound | None:
        """Return the number of which values are a multiple, None where there is none."""
        if len(self.multiples) < 2:
            return next(iter(self.multiples), None)
        parts = [Fraction(str(multiple)) for multiple in self.multiples]
        common = math.lcm(*(part.denominator for part in parts))
        whole = math.lcm(*(int(part * common) for part in parts))
        step = Fraction(whole, common)
        return int(step) if step.denominator == 1 else float(step)


def _union(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one + other))


def _tighter(choose, one: Bound | None, other: Bound | None) -> Bound | None:  # type: ignore[no-untyped-def]
    return other if one is None else one if other is None else choose(one, other)


def _matches(pattern: str, value: str, unknown: bool) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return unknown
