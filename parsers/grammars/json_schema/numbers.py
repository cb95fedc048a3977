"""JSON numbers within bounds and multiples, as terminal expressions.

Held as a validator sees them, which compares doubles: a text passes only if its double does, and
every double is finite. Not written, though valid: more than 64 digits before or behind the point;
beside a bound, exponents of integers, and of others unless one digit stands before the point, and
digits that are rounded onto the bound, unless they are printed so; exponents of multiples; zeros
behind the point of multiples above 2**53; more than 15 digits of other fractions of multiples;
above 1e15, multiples of a step that is a double.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from .decimal_ranges import MAX_DIGITS, exponents, one_of, powers
from .number_bounds import LEAST_TEXT, MAX_DOUBLE, Bounds, Span
from .number_steps import EXACT_DECIMALS, decimal_text, multiple_expression

__all__ = ["NumberTerminal", "number_format_bounds", "number_terminal"]

_ZEROS: Final = f"0{{1,{MAX_DIGITS}}}"
_DIGITS: Final = f"[0-9]{{1,{MAX_DIGITS}}}"
_POSITIVE_WHOLE: Final = f"[1-9][0-9]{{0,{MAX_DIGITS - 1}}}"
_WHOLE: Final = f"(?:0|{_POSITIVE_WHOLE})"
_ZERO_POWER: Final = rf"0(?:\.{_ZEROS})?[eE][+-]?[0-9]{{1,3}}"
# With 64 digits on either side of the point these exponents keep a double finite and above zero.
_LEAST_EXPONENT: Final = -250
_MOST_EXPONENT: Final = 243
_MAX_SAMPLES: Final = 3
_MAX_SAMPLE: Final = 16
"""Longer fractions are no samples: a multiple may have no more digits than doubles keep."""


@dataclass(frozen=True)
class NumberTerminal:
    """What a grammar needs to know of a number.

    expression: a terminal expression. relaxed: keywords it doesn't hold, or not as a validator
    does that divides doubles. samples: JSON texts that fit, shortest first. is_empty: whether no
    number fits; expression is then of no use.
    """

    expression: str
    relaxed: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    is_empty: bool = False


def number_format_bounds(name: str) -> tuple[int, int] | None:
    """Return the least and greatest number of a format such as int32; None for other names."""
    is_unsigned = name.startswith("uint")
    digits = name.removeprefix("uint" if is_unsigned else "int")
    if digits not in ("8", "16", "32", "64"):
        return None
    bits = int(digits)
    return (0, 2**bits - 1) if is_unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def number_terminal(
    *,
    is_integer: bool,
    minimum: float | None = None,
    maximum: float | None = None,
    exclusive_minimum: float | None = None,
    exclusive_maximum: float | None = None,
    multiple_of: float | None = None,
) -> NumberTerminal:
    """Return the terminal of a JSON number under the keywords of those names.

    is_integer: whether only whole numbers fit, in any spelling (`1.0`, `1e3`, `-0`).
    Raises ValueError for a multiple_of that is not a number above zero.
    """
    if multiple_of is not None and not 0 < multiple_of <= MAX_DOUBLE:
        raise ValueError(f"multiple_of: got {multiple_of!r}, want a finite number above 0")
    bounds = Bounds.of(minimum, maximum, exclusive_minimum, exclusive_maximum)
    texts = (_integer_texts if is_integer else _number_texts)(bounds)
    step = Fraction(str(multiple_of)) if multiple_of is not None else None
    if is_integer:
        step = Fraction(step.numerator if step is not None else 1)
    samples = _samples(bounds, step)
    if texts is None or not samples:
        return NumberTerminal("/0/", is_empty=True)
    if multiple_of is None or step is None:
        return NumberTerminal(f"/{texts}/", samples=samples)
    if isinstance(multiple_of, float):
        # Divided by a double, a number beyond has no exact quotient.
        bounds = bounds.within(EXACT_DECIMALS)
    exact_samples = _samples(bounds, step)
    held = multiple_expression(bounds, step) if exact_samples else None
    if held is None:
        return NumberTerminal(f"/{texts}/", ("multipleOf",), samples)
    # 0.3 / 0.1 is not 3 among doubles: only sums of powers of two divide as decimals do.
    is_exact = Fraction(multiple_of) == Fraction(str(multiple_of))
    return NumberTerminal(held, () if is_exact else ("multipleOf",), exact_samples)


def _samples(bounds: Bounds, step: Fraction | None) -> tuple[str, ...]:
    """Return the shortest texts that fit: zero, a step, and what is next to the bounds."""
    unit = step or Fraction(1)
    values = {Fraction(0), unit, -unit, Fraction(unit.numerator), -Fraction(unit.numerator)}
    doubles = [
        double
        for double in (bounds.double_low, bounds.double_high)
        if LEAST_TEXT <= abs(double) < MAX_DOUBLE
    ]
    wholes = [bound for bound in (bounds.whole_low, bounds.whole_high) if bound is not None]
    for number in [*map(Fraction, wholes), *(Fraction(repr(double)) for double in doubles)]:
        values |= {number // unit * unit, -(-number // unit) * unit}
    texts = {decimal_text(value) for value in values if bounds.allows(value)}
    texts = {text for text in texts if "." not in text or len(text) <= _MAX_SAMPLE}
    if step is None and bounds.double_low <= bounds.double_high:
        texts.update(map(repr, doubles))
    found = sorted(texts, key=lambda text: (len(text), text))[:_MAX_SAMPLES]
    return tuple(text for text in found if len(text) <= max(len(found[0]), MAX_DIGITS))


def _signed(positive: str | None, negative: str | None) -> str | None:
    """Join the magnitudes of numbers from 0 up and from 0 down."""
    if positive is not None and positive == negative:
        return f"-?(?:{positive})"
    texts = [] if positive is None else [positive]
    if negative is not None:
        texts.append(f"-(?:{negative})")
    return "|".join(texts) or None


def _integer_texts(bounds: Bounds) -> str | None:
    return _signed(*map(_integer_magnitudes, bounds.spans()))


def _integer_magnitudes(span: Span) -> str | None:
    if span.whole_high is None and (span.whole_low or 0) <= 1:
        return _open_integers(is_above_zero=span.whole_low == 1)
    texts, pointed = span.whole_texts(), span.pointed_wholes()
    if texts == pointed and texts:
        return rf"{one_of(texts)}(?:\.{_ZEROS})?"
    # Beyond 2**53 a text with a point is another number than one without.
    with_point = [rf"{one_of(pointed)}\.{_ZEROS}"] if pointed else []
    return "|".join(texts + with_point) or None


def _open_integers(*, is_above_zero: bool) -> str:
    whole = _POSITIVE_WHOLE if is_above_zero else _WHOLE
    texts = [rf"{whole}(?:\.{_ZEROS}|{exponents(0, _MOST_EXPONENT)})?"]
    texts.append(f"[1-9]{exponents(_MOST_EXPONENT + 1, 307)}")
    # Digits behind the point need as many tens; a double above 2**53 is whole anyway.
    for num_digits in range(1, 16):
        texts.append(rf"[1-9]\.[0-9]{{{num_digits}}}0{{0,9}}{exponents(num_digits, 307)}")
    texts.append(rf"[1-9]\.{_DIGITS}{exponents(16, 307)}")
    return "|".join(texts)


def _number_texts(bounds: Bounds) -> str | None:
    return _signed(*map(_number_magnitudes, bounds.spans()))


def _number_magnitudes(span: Span) -> str | None:
    if span.is_open:
        return _open_numbers(is_above_zero=span.is_above_zero)
    texts = span.whole_texts() + span.fraction_texts()
    if span.double_high >= max(span.double_low, 0):
        texts += powers(*span.decimals())
        if not span.is_above_zero:
            texts.append(_ZERO_POWER)
    return "|".join(texts) or None


def _open_numbers(*, is_above_zero: bool) -> str:
    tail = rf"(?:\.{_DIGITS})?"
    special = [_ZERO_POWER]
    plain, least_exponent = f"{_WHOLE}{tail}", -999
    if is_above_zero:
        below_one = rf"0\.0{{0,{MAX_DIGITS - 2}}}[1-9][0-9]{{0,{MAX_DIGITS - 2}}}"
        plain = f"{_POSITIVE_WHOLE}{tail}|{below_one}"
        least_exponent = _LEAST_EXPONENT
        special = powers(Decimal(0), Decimal(10) ** _LEAST_EXPONENT)
    # The greatest exponents are for one digit before the point.
    large = powers(Decimal(10) ** (_MOST_EXPONENT + 1), Decimal(repr(MAX_DOUBLE)))
    scaled = exponents(least_exponent, _MOST_EXPONENT)
    return "|".join([f"(?:{plain})(?:{scaled})?", *large, *special])
