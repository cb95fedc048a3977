"""Short texts in which a pattern is found: ways to end a string that has one.

The standard library's own regex parser does the reading; it is private, but there since 3.11.
"""

import re
from collections.abc import Iterator, Mapping
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final

_MAX_REPEAT: Final = 256
_CATEGORIES: Final[dict[Any, str]] = {
    ops.CATEGORY_DIGIT: r"\d",
    ops.CATEGORY_NOT_DIGIT: r"\D",
    ops.CATEGORY_SPACE: r"\s",
    ops.CATEGORY_NOT_SPACE: r"\S",
    ops.CATEGORY_WORD: r"\w",
    ops.CATEGORY_NOT_WORD: r"\W",
}


def samples(schema: Any) -> Iterator[str]:
    """Yield a short match of every pattern in a schema whose syntax Python's `re` shares."""
    if isinstance(schema, Mapping):
        pattern = schema.get("pattern")
        found = sample(pattern) if isinstance(pattern, str) else None
        if found is not None:
            yield found
    if isinstance(schema, Mapping | list):
        for part in schema.values() if isinstance(schema, Mapping) else schema:
            yield from samples(part)


def sample(pattern: str) -> str | None:
    """Return a short text in which a pattern is found, None where it can't be told."""
    try:
        text = "".join(map(_sample_part, _parser.parse(pattern)))
        return text if re.search(pattern, text) else None
    except (re.error, OverflowError, _NoSampleError):
        return None


class _NoSampleError(Exception):
    """The pattern has a part that isn't known here."""


def _sample_part(part: tuple[Any, Any]) -> str:
    op, value = part
    if op is ops.LITERAL:
        return chr(int(value))
    if op is ops.AT:
        return ""
    if op is ops.ANY:
        return "a"
    if op is ops.IN:
        return _sample_class(value)
    if op is ops.NOT_LITERAL:
        return "a" if value != ord("a") else "b"
    if op is ops.SUBPATTERN:
        return "".join(map(_sample_part, value[-1]))
    if op is ops.BRANCH:
        return min(("".join(map(_sample_part, branch)) for branch in value[1]), key=len)
    if op in (ops.MAX_REPEAT, ops.MIN_REPEAT):
        return "".join(map(_sample_part, value[2])) * min(int(value[0]), _MAX_REPEAT)
    raise _NoSampleError(str(op))


def _sample_class(members: list[tuple[Any, Any]]) -> str:
    """Return a character of a class, a plain one where there is one."""
    text = "[" + "".join(map(_class_member, members)) + "]"
    for char in "a0A -_./" + "".join(map(chr, range(0x21, 0x7F))):
        if re.match(text, char):
            return char
    first = next((value for op, value in members if op in (ops.LITERAL, ops.RANGE)), None)
    if first is None:
        raise _NoSampleError(text)
    return chr(first if isinstance(first, int) else first[0])


def _class_member(member: tuple[Any, Any]) -> str:
    op, value = member
    if op is ops.NEGATE:
        return "^"
    if op is ops.LITERAL:
        return re.escape(chr(value))
    if op is ops.RANGE:
        return re.escape(chr(value[0])) + "-" + re.escape(chr(value[1]))
    if op is ops.CATEGORY and value in _CATEGORIES:
        return _CATEGORIES[value]
    raise _NoSampleError(str(op))
