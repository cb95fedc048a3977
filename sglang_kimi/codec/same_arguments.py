"""Whether a call's arguments, sent back by a client, are those that the model wrote.

Clients parse arguments and write them anew: spacing, escapes and numbers change, as JavaScript's
`JSON.parse` and `JSON.stringify` would have it, and the meaning does not.
"""

import json
from decimal import Decimal
from typing import Any, Final

_UNREADABLE: Final = object()


def are_same_arguments(generated: str, returned: str) -> bool:
    """Tell whether two argument texts mean the same.

    Equal are texts that differ at their edges only, and JSON that parses alike: of a key that comes
    twice the last counts, a number is what it is as a float. What is no JSON object cannot be sent
    on by every API; there `{}` stands for it.
    """
    generated, returned = generated.strip(), returned.strip()
    if generated == returned:
        return True
    wrote, got = _load(generated), _load(returned)
    try:
        if got == {} and not isinstance(wrote, dict):
            return True
        return got is not _UNREADABLE and wrote is not _UNREADABLE and _are_same(wrote, got)
    except RecursionError:
        return False


def _load(text: str) -> Any:
    if not text:
        return {}
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _UNREADABLE


def _are_same(wrote: Any, got: Any) -> bool:
    if isinstance(wrote, dict):
        return (
            isinstance(got, dict)
            and wrote.keys() == got.keys()
            and all(_are_same(value, got[key]) for key, value in wrote.items())
        )
    if isinstance(wrote, list):
        return (
            isinstance(got, list)
            and len(wrote) == len(got)
            and all(_are_same(one, other) for one, other in zip(wrote, got, strict=True))
        )
    if _is_number(wrote) and _is_number(got):
        return _are_same_numbers(wrote, got)
    return type(wrote) is type(got) and bool(wrote == got)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_same_numbers(one: int | float, other: int | float) -> bool:
    """Compare as a client does that knows floats only; two whole numbers may not just be close."""
    if one == other:
        return True
    try:
        if float(one) != float(other):
            return False
    except OverflowError:  # a whole number beyond every float
        return False
    if isinstance(one, float) or isinstance(other, float):
        return True
    return other == _through_float(one) or one == _through_float(other)


def _through_float(number: int) -> int:
    """Return a whole number as JavaScript writes it: the shortest digits that give its float."""
    return int(Decimal(repr(float(number))))
