"""Bounds of a number in the two forms a validator compares: whole numbers and doubles."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, Self

from .decimal_ranges import MAX_DIGITS, fractions, whole_numbers

__all__ = ["ALL_EXACT", "LEAST_TEXT", "MAX_DOUBLE", "Bounds", "Span"]

MAX_DOUBLE: Final = 1.7976931348623157e308
ALL_EXACT: Final = 2**53
"""Every whole number up to here is a double."""
LEAST_TEXT: Final = 1e-300
"""Between bounds no smaller number but zero is written: doubles lose their digits there."""
_MAX_WHOLE: Final = int(MAX_DOUBLE) // 10**294 * 10**294
_LEAST_DOUBLE: Final = 5e-324
_BEYOND_DOUBLES: Final = 10**400


@dataclass(frozen=True)
class Span:
    """Bounds of the numbers of one sign, as magnitudes; a low bound may be below zero.

    whole_low, whole_high: of texts without a point, None where there is no bound.
    double_low, double_high: of the doubles of other texts. All are included.
    """

    whole_low: int | None
    whole_high: int | None
    double_low: float
    double_high: float

    @property
    def is_open(self) -> bool:
        """Whether everything above about zero passes."""
        return self.double_high == MAX_DOUBLE and self.double_low <= _LEAST_DOUBLE

    @property
    def is_above_zero(self) -> bool:
        return self.double_low > 0

    def decimals(self) -> tuple[Decimal, Decimal]:
        """Return the bounds of texts with a point or an exponent, none below 0."""
        low, high = max(self.double_low, 0.0), max(self.double_high, 0.0)
        return min(_printed(low)), max(_printed(high))

    def fraction_texts(self) -> list[str]:
        """Return alternatives for numbers with digits behind a point."""
        if self.double_high < max(self.double_low, 0):
            return []
        low, high = self.decimals()
        if high < Decimal(10) ** -MAX_DIGITS:
            return [] if low else fractions(low, Decimal(0))
        if 0 < low < Decimal(10) ** -MAX_DIGITS:
            return fractions(Decimal(0), high, above_zero=True)
        return fractions(low, high)

    def whole_texts(self, most: int = _MAX_WHOLE) -> list[str]:
        """Return alternatives for whole numbers without a point, up to `most`."""
        high = most if self.whole_high is None else min(self.whole_high, most)
        return whole_numbers(max(self.whole_low or 0, 0), min(high, _MAX_WHOLE))

    def pointed_wholes(self) -> list[str]:
        """Return alternatives for whole numbers that zeros behind a point may follow."""
        if self.double_high < max(self.double_low, 0):
            return []
        low, high = self.decimals()
        return whole_numbers(math.ceil(low), min(math.floor(high), 10**MAX_DIGITS - 1))


@dataclass(frozen=True)
class Bounds(Span):
    """Bounds of the numbers of both signs."""

    @classmethod
    def of(
        cls,
        minimum: float | None,
        maximum: float | None,
        exclusive_minimum: float | None,
        exclusive_maximum: float | None,
    ) -> Self:
        """Return the bounds that keywords of those names put."""
        low, above = minimum, exclusive_minimum
        # From above, everything is mirrored at zero.
        high = None if maximum is None else -maximum
        below = None if exclusive_maximum is None else -exclusive_maximum
        most = _whole_low(high, below)
        return cls(
            _whole_low(low, above),
            None if most is None else -most,
            _double_low(low, above),
            -_double_low(high, below),
        )

    def spans(self) -> Iterator[Span]:
        """Yield the magnitudes of the numbers from 0 up, then of those from 0 down."""
        yield self
        low, high = self.whole_low, self.whole_high
        yield Span(
            None if high is None else -high,
            None if low is None else -low,
            -self.double_high,
            -self.double_low,
        )

    def within(self, most: int) -> Self:
        """Return the bounds narrowed to -most and most."""
        low = -most if self.whole_low is None else max(self.whole_low, -most)
        high = most if self.whole_high is None else min(self.whole_high, most)
        return type(self)(
            low, high, max(self.double_low, -float(most)), min(self.double_high, float(most))
        )

    def allows(self, value: Fraction) -> bool:
        """Return whether the shortest text of a number passes."""
        if value.denominator > 1:
            return self.double_low <= float(value) <= self.double_high
        low = -_MAX_WHOLE if self.whole_low is None else self.whole_low
        high = _MAX_WHOLE if self.whole_high is None else self.whole_high
        return low <= value <= high and abs(value) <= _MAX_WHOLE


def _printed(double: float) -> list[Decimal]:
    """Return the decimals that are printed for a double: the shortest one, a whole one's digits."""
    shortest = Decimal(repr(double))
    is_whole = double.is_integer() and double < 10**MAX_DIGITS
    return [shortest, Decimal(double)] if is_whole else [shortest]


def _whole_low(minimum: float | None, exclusive: float | None) -> int | None:
    """Return the least whole number that passes, None if all do."""
    found = []
    if minimum is not None and minimum != -math.inf:
        found.append(math.ceil(min(minimum, _BEYOND_DOUBLES)))
    if exclusive is not None and exclusive != -math.inf:
        found.append(math.floor(min(exclusive, _BEYOND_DOUBLES)) + 1)
    return _rounded(max(found)) if found else None


def _rounded(low: int) -> int:
    """Round a bound of more than MAX_DIGITS digits up to the digits of a double."""
    unit = 10 ** max(len(str(abs(low))) - 15, 0) if abs(low) > 10**MAX_DIGITS else 1
    return -(-low // unit) * unit


def _double_low(minimum: float | None, exclusive: float | None) -> float:
    """Return the least double that passes, inf if none does."""
    found = [-MAX_DOUBLE]
    if minimum is not None:
        double = _double(minimum)
        found.append(double if double >= minimum else math.nextafter(double, math.inf))
    if exclusive is not None:
        double = _double(exclusive)
        found.append(double if double > exclusive else math.nextafter(double, math.inf))
    return max(found)


def _double(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)
