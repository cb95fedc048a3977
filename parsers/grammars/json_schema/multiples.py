"""Regular expressions of the digit strings that are multiples of a whole number.

Zeros at the end take a factor of ten, the last digits tell a power of two or five, and an
automaton over remainders, turned into an expression, tells the rest as long as it stays small.
"""

from functools import cache
from typing import Final

__all__ = ["multiples_of"]

_MAX_LENGTH: Final = 30_000
"""Longer expressions aren't made: 7 takes 21,000 characters, 9 would take 260,000."""
_MAX_REMAINDERS: Final = 7
_MAX_POWER: Final = 1000


@cache
def multiples_of(divisor: int, digit_end: str = "") -> tuple[str, ...] | None:
    """Return expressions that all hold exactly for multiples of divisor >= 1, none if all are.

    digit_end: an expression that may follow every digit, as `\\.?` does where a point may stand.
    Leading zeros are allowed. None if the expressions would be too large.
    """
    num_zeros = 0
    while divisor % 10 == 0:
        divisor //= 10
        num_zeros += 1
    power = 1
    for prime in (2, 5):
        while divisor % prime == 0:
            divisor //= prime
            power *= prime
    if power > _MAX_POWER or divisor > _MAX_REMAINDERS:
        return None
    parts = []
    if power > 1:
        parts.append(_by_last_digits(power, digit_end))
    if divisor > 1:
        parts.append(_by_remainders(divisor, digit_end))
    if num_zeros:
        zeros = f"(?:0{digit_end}){{{num_zeros}}}"
        # A lone zero is a multiple too; leading zeros make the others long enough.
        nothing = f"(?:0{digit_end})+"
        parts = [f"(?:(?:{part}){zeros}|{nothing})" for part in parts or [f"(?:[0-9]{digit_end})*"]]
    return None if any(len(part) > _MAX_LENGTH for part in parts) else tuple(parts)


def _by_last_digits(power: int, digit_end: str) -> str:
    """Return digit strings whose end is a multiple of a power of two or of five."""
    num_digits = 1
    while 10**num_digits % power:
        num_digits += 1
    found = [f"(?:[0-9]{digit_end})*(?:{_ending(num_digits, 0, power, digit_end)})"]
    for length in range(1, num_digits):
        found.append(_ending(length, 0, power, digit_end) or "")
    return f"(?:{'|'.join(found)})"


@cache
def _ending(length: int, remainder: int, power: int, digit_end: str) -> str | None:
    """Return the strings of `length` digits with that remainder; None if there are none."""
    if length == 0:
        return None if remainder else ""
    by_rest: dict[str, str] = {}
    for digit in range(10):
        wanted = (remainder - digit * 10 ** (length - 1)) % power
        rest = _ending(length - 1, wanted, power, digit_end)
        if rest is not None:
            by_rest[rest] = by_rest.get(rest, "") + str(digit)
    if not by_rest:
        return None
    found = [f"{_digit_class(digits)}{digit_end}{rest}" for rest, digits in by_rest.items()]
    return found[0] if len(found) == 1 else f"(?:{'|'.join(found)})"


def _by_remainders(divisor: int, digit_end: str) -> str:
    """Return the automaton over remainders, its states taken out one by one."""
    digits: dict[tuple[int, int], str] = {}
    for remainder in range(divisor):
        for digit in range(10):
            edge = remainder, (remainder * 10 + digit) % divisor
            digits[edge] = digits.get(edge, "") + str(digit)
    edges = {edge: _digit_class(group) + digit_end for edge, group in digits.items()}
    for state in range(divisor - 1, 0, -1):
        loop = f"(?:{edges.pop((state, state))})*" if (state, state) in edges else ""
        entries = {start: text for (start, end), text in edges.items() if end == state}
        exits = {end: text for (start, end), text in edges.items() if start == state}
        edges = {edge: text for edge, text in edges.items() if state not in edge}
        for start, entry in entries.items():
            for end, leave in exits.items():
                way = entry + loop + leave
                known = edges.get((start, end))
                edges[start, end] = way if known is None else f"(?:{known}|{way})"
    return f"(?:{edges[0, 0]})+"


def _digit_class(digits: str) -> str:
    if digits == "0123456789":
        return "[0-9]"
    return digits if len(digits) == 1 else f"[{digits}]"
