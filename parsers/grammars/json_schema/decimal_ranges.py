"""Regular expressions of decimal texts within bounds: whole numbers, fractions, powers of ten.

Everything here is about magnitudes: texts without a sign, bounds of zero or more. A result is a
list of alternatives; an empty one means that no text fits.
"""

from decimal import Decimal
from typing import Final

__all__ = ["MAX_DIGITS", "exponents", "fractions", "one_of", "powers", "whole_numbers"]

MAX_DIGITS: Final = 64
"""A number has at most so many digits before its point, and about as many behind."""
_MIN_EXPONENT: Final = -300
"""Non-zero numbers are at least 1e-300 in a bounded range: below, doubles lose their digits."""

_ABOVE_ZERO: Final = "+"
_ANY_FRACTION: Final = f"[0-9]{{1,{MAX_DIGITS}}}"


def whole_numbers(low: int, high: int) -> list[str]:
    """Return alternatives for the whole numbers from low to high, 0 <= low, without leading zeros.

    Numbers above MAX_DIGITS digits are left out, unless low itself is that long.
    """
    high = min(high, max(10**MAX_DIGITS, 10 * low) - 1)
    if low > high:
        return []
    low_text, high_text = str(low), str(high)
    if len(low_text) == len(high_text):
        return [_same_length(low_text, high_text)]
    found = [_same_length(low_text, "9" * len(low_text))]
    least, most = len(low_text) + 1, len(high_text)
    if high_text == "9" * most:
        found.append(f"[1-9]{_digits(least - 1, most - 1)}")
    else:
        if least < most:
            found.append(f"[1-9]{_digits(least - 1, most - 2)}")
        found.append(_same_length("1" + "0" * (most - 1), high_text))
    return found


def fractions(low: Decimal, high: Decimal, *, above_zero: bool = False) -> list[str]:
    """Return alternatives for `I.F` between low and high; above_zero leaves out zero itself."""
    (first, low_tail), (last, high_tail) = _split(low), _split(high)
    if above_zero and not low:
        low_tail = _ABOVE_ZERO
    if last >= 10**MAX_DIGITS:
        last, high_tail = 10**MAX_DIGITS, ""
    if first > last:
        return []
    if first == last:
        return _with_tail([str(first)], _tails(low_tail, high_tail, MAX_DIGITS)[0])
    found = []
    if low_tail:
        found = _with_tail([str(first)], _tails(low_tail, None, MAX_DIGITS)[0])
        first += 1
    found += _with_tail(whole_numbers(first, last - 1), [_ANY_FRACTION])
    return found + _with_tail([str(last)], _tails("", high_tail, MAX_DIGITS)[0])


def powers(low: Decimal, high: Decimal) -> list[str]:
    """Return alternatives for `D.FeX`, one digit before the point, above 0, from low to high."""
    low = max(low, Decimal(1).scaleb(_MIN_EXPONENT))
    if low > high:
        return []
    first, last = low.adjusted(), high.adjusted()
    low_mantissa, high_mantissa = low.scaleb(-first), high.scaleb(-last)
    if first == last:
        return _scaled(low_mantissa, high_mantissa, first, first)
    found = []
    if low_mantissa > 1:
        found = _scaled(low_mantissa, None, first, first)
        first += 1
    found += _scaled(Decimal(1), None, first, last - 1)
    return found + _scaled(Decimal(1), high_mantissa, last, last)


def exponents(low: int, high: int) -> str:
    """Return an expression for `e` and an exponent from low to high; low <= high."""
    found = []
    if high >= 0:
        found.append(rf"\+?0{{0,2}}{one_of(whole_numbers(max(low, 0), high))}")
    if low <= 0:
        found.append(f"-0{{0,2}}{one_of(whole_numbers(max(-high, 0), -low))}")
    return f"[eE]{one_of(found)}"


def _scaled(low: Decimal, high: Decimal | None, first: int, last: int) -> list[str]:
    if first > last:
        return []
    return [f"{one_of(_mantissas(low, high))}{exponents(first, last)}"]


def _mantissas(low: Decimal, high: Decimal | None) -> list[str]:
    """Return alternatives for `D` and `D.F` from low to high (None: below 10), 1 <= low."""
    (first, low_tail), (last, high_tail) = _split(low), _split(high or Decimal(10))
    if first == last:
        return _with_optional_tail(str(first), _tails(low_tail, high_tail, MAX_DIGITS))
    found = []
    if low_tail:
        found = _with_optional_tail(str(first), _tails(low_tail, None, MAX_DIGITS))
        first += 1
    if first < last:
        found.append(rf"{_class(first, last - 1)}(?:\.{_ANY_FRACTION})?")
    if high is not None:
        found += _with_optional_tail(str(last), _tails("", high_tail, MAX_DIGITS))
    return found


def _split(value: Decimal) -> tuple[int, str]:
    """Return the whole part and the digits behind the point, without zeros at their end."""
    whole, _, tail = f"{value:f}".partition(".")
    return int(whole), tail.rstrip("0")


def _with_tail(heads: list[str], tails: list[str]) -> list[str]:
    return [rf"{one_of(heads)}\.{one_of(tails)}"] if heads and tails else []


def _with_optional_tail(head: str, tails: tuple[list[str], bool]) -> list[str]:
    found, may_be_empty = tails
    return ([head] if may_be_empty else []) + _with_tail([head], found)


def _tails(low: str, high: str | None, room: int) -> tuple[list[str], bool]:
    """Return alternatives for digits behind a point, and whether none at all will do.

    low, high: the bounds' digits without zeros at the end; a high of None bounds nothing.
    """
    if high is None and low in ("", _ABOVE_ZERO):
        if low:
            return [f"0{{0,{max(room - 2, 0)}}}[1-9]{_digits(0, max(room - 2, 0))}"], False
        return [_digits(1, room)] if room > 0 else [], True
    if high == "":
        return ([_repeat("0", 1, room)] if room > 0 else [], True) if low == "" else ([], False)
    num_zeros = _num_zeros(low, high)
    if num_zeros > 1:
        # Without this every zero would be a level of nesting, and engines allow 250 of those.
        low_rest, high_rest = _rest(low, num_zeros), high and high[num_zeros:]
        found = _branch(f"0{{{num_zeros}}}", low_rest, high_rest, room - num_zeros)
        if low == "":
            found.append(f"0{{1,{num_zeros - 1}}}")
        if high is None:
            found.append(f"0{{0,{num_zeros - 1}}}[1-9]{_digits(0, max(room - 1, 0))}")
        return found, low == ""
    first, low_rest = (0, low) if low in ("", _ABOVE_ZERO) else (int(low[0]), low[1:])
    last, high_rest = (int(high[0]), high[1:]) if high is not None else (9, None)
    if first > last:
        return [], False
    if first == last:
        return _branch(str(first), low_rest, high_rest, room - 1), low == ""
    found = []
    if low_rest:
        found = _branch(str(first), low_rest, None, room - 1)
        first += 1
    if high is not None:
        found += _branch(str(last), "", high_rest, room - 1)
        last -= 1
    if first <= last:
        found.append(_class(first, last) + _digits(0, max(room - 1, 0)))
    return found, low == ""


def _num_zeros(low: str, high: str | None) -> int:
    """Return how many zeros both bounds begin with."""
    runs = [] if low in ("", _ABOVE_ZERO) else [len(low) - len(low.lstrip("0"))]
    runs += [] if high is None else [len(high) - len(high.lstrip("0"))]
    return min(runs)


def _rest(low: str, num_digits: int) -> str:
    return low if low == _ABOVE_ZERO else low[num_digits:]


def _branch(head: str, low: str, high: str | None, room: int) -> list[str]:
    found, may_be_empty = _tails(low, high, room)
    if not found:
        return [head] if may_be_empty else []
    return [f"{head}(?:{'|'.join(found)}){'?' if may_be_empty else ''}"]


def _same_length(low: str, high: str) -> str:
    """Return an expression for the digit strings from low to high, which are equally long."""
    if not low:
        return ""
    num_rest = len(low) - 1
    first, last = int(low[0]), int(high[0])
    if first == last:
        return low[0] + _same_length(low[1:], high[1:])
    found = []
    if low[1:].strip("0"):
        found.append(low[0] + _same_length(low[1:], "9" * num_rest))
        first += 1
    if high[1:].strip("9"):
        found.append(high[0] + _same_length("0" * num_rest, high[1:]))
        last -= 1
    if first <= last:
        found.append(_class(first, last) + _digits(num_rest, num_rest))
    return one_of(found)


def _class(first: int, last: int) -> str:
    return str(first) if first == last else f"[{first}-{last}]"


def _digits(least: int, most: int) -> str:
    return _repeat("[0-9]", least, most)


def _repeat(item: str, least: int, most: int) -> str:
    if most == 0:
        return ""
    return f"{item}{{{least}}}" if least == most else f"{item}{{{least},{most}}}"


def one_of(alternatives: list[str]) -> str:
    return alternatives[0] if len(alternatives) == 1 else f"(?:{'|'.join(alternatives)})"
