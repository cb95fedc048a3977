"""Multiples of a number within bounds: listed where they are few, else held digit by digit."""

import math
from fractions import Fraction
from typing import Final

from .decimal_ranges import MAX_DIGITS, one_of
from .multiples import multiples_of
from .number_bounds import ALL_EXACT, Bounds

__all__ = ["EXACT_DECIMALS", "decimal_text", "multiple_expression"]

_MAX_LISTED: Final = 1000
_EXACT_DIGITS: Final = 15
EXACT_DECIMALS: Final = 10**_EXACT_DIGITS
"""A double keeps that many digits of any decimal number."""
_ZEROS: Final = f"0{{1,{MAX_DIGITS}}}"


def decimal_text(value: Fraction) -> str:
    """Return a number as a decimal text, whose denominator divides a power of ten."""
    num_places = _num_places(value)
    scaled = value * 10**num_places
    digits = f"{abs(scaled.numerator):0{num_places + 1}}"
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-num_places]}.{digits[-num_places:]}" if num_places else sign + digits


def multiple_expression(bounds: Bounds, step: Fraction) -> str | None:
    """Return a terminal expression of the multiples of step; None if it would be too large."""
    values = _listed(bounds, step)
    if values is not None:
        return f"/{'|'.join(map(_spelling, values))}/"
    whole = multiples_of(step.numerator)
    num_places = _num_places(step)
    if whole is None or num_places >= _EXACT_DIGITS:
        return None
    # Above, the double of a text with a point may be another multiple, or none.
    texts = [rf"{text}(?:\.{_ZEROS})?" for text in _wholes(bounds, ALL_EXACT)]
    texts += _wholes(bounds)
    found = [_every(texts, whole, rf"(?:\.{_ZEROS})?")] if texts else []
    for num_digits in range(1, num_places + 1):
        tens = 10**num_digits
        # With its point left out the number must be a multiple of this.
        divisor = step.numerator * (tens // math.gcd(tens, step.denominator))
        digits = multiples_of(divisor, r"\.?")
        if digits is None:
            return None
        shape = rf"[0-9]{{1,{_EXACT_DIGITS - num_digits}}}\.[0-9]{{{num_digits}}}"
        fractions = _fractions(bounds)
        if fractions:
            texts = [f"-?{shape}"]
            found.append(f"/{one_of(fractions)}/ & ({_every(texts, digits)} /0{{0,9}}/)")
    return "(" + " | ".join(f"({one})" for one in found) + ")" if found else None


def _num_places(value: Fraction) -> int:
    """Return how many decimals a number has whose denominator divides a power of ten."""
    num_places = 0
    while 10**num_places % value.denominator:
        num_places += 1
    return num_places


def _listed(bounds: Bounds, step: Fraction) -> list[Fraction] | None:
    """Return the multiples of step within the bounds, None if they are many."""
    if bounds.whole_low is None or bounds.whole_high is None:
        return None
    first = math.floor((bounds.whole_low - 1) / step)
    last = math.ceil((bounds.whole_high + 1) / step)
    if last - first > _MAX_LISTED:
        return None
    return [step * count for count in range(first, last + 1) if bounds.allows(step * count)]


def _spelling(value: Fraction) -> str:
    """Return an expression of a number with any zeros at the end of its fraction."""
    text = decimal_text(value)
    if "." in text:
        return text.replace(".", r"\.") + f"0{{0,{MAX_DIGITS}}}"
    zeros = rf"(?:\.{_ZEROS})?" if value == float(value) else ""
    return ("" if value else "-?") + text + zeros


def _wholes(bounds: Bounds, *most: int) -> list[str]:
    up, down = (span.whole_texts(*most) for span in bounds.spans())
    return up + [f"-{text}" for text in down]


def _fractions(bounds: Bounds) -> list[str]:
    up, down = (span.fraction_texts() for span in bounds.spans())
    return up + [f"-{text}" for text in down]


def _every(texts: list[str], conditions: tuple[str, ...], end: str = "") -> str:
    """Return an expression of the texts whose digits, but for the end, fulfil every condition."""
    parts = [one_of(texts), *(f"-?{condition}{end}" for condition in conditions)]
    return "(" + " & ".join(f"/{part}/" for part in parts) + ")"
