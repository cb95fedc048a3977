"""Which value an object's key asks for, and what keys there may be beside the declared ones."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain, combinations
from typing import Final

from .document import NOTHING, Conj, all_of
from .nodes import ObjectPart, ObjectRules

_MAX_PATTERNS: Final = 4


def declared_names(rules: ObjectRules) -> list[str]:
    """Return the keys that the rules name, in the order of the schema."""
    names = chain.from_iterable(part.properties for part in rules.parts)
    return list(dict.fromkeys((*names, *sorted(rules.required))))


def value_of(rules: ObjectRules, name: str) -> Conj:
    """Return what the value under a key must be; a pattern that can't be read asks nothing."""
    return all_of(*(_value_in(part, name) for part in rules.parts))


def _value_in(part: ObjectPart, name: str) -> Conj:
    matched = [pattern for pattern in part.patterns if _may_match(pattern, name)]
    found = [part.patterns[pattern] for pattern in matched if _is_readable(pattern)]
    if name in part.properties:
        return all_of(part.properties[name], *found)
    return all_of(*found) if matched else part.extra


def key_classes(rules: ObjectRules) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], Conj]]:
    """Yield the classes of undeclared keys: (patterns they match, patterns they don't, value).

    With more than four patterns the classes overlap: a key of several has the value of any.
    """
    patterns = tuple(dict.fromkeys(chain.from_iterable(part.patterns for part in rules.parts)))
    for matched in _subsets(patterns):
        value = all_of(*(_class_value(part, matched) for part in rules.parts))
        if value != NOTHING:
            is_exact = len(patterns) <= _MAX_PATTERNS or not matched
            yield matched, tuple(p for p in patterns if is_exact and p not in matched), value


def has_overlapping_classes(rules: ObjectRules) -> bool:
    """Return whether `key_classes` can't tell every combination of patterns apart."""
    return len(set(chain.from_iterable(part.patterns for part in rules.parts))) > _MAX_PATTERNS


def _class_value(part: ObjectPart, matched: tuple[str, ...]) -> Conj:
    own = [part.patterns[pattern] for pattern in matched if pattern in part.patterns]
    return all_of(*own) if own else part.extra


def _subsets(patterns: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    largest = len(patterns) if len(patterns) <= _MAX_PATTERNS else 1
    return chain.from_iterable(combinations(patterns, size) for size in range(largest + 1))


def _may_match(pattern: str, name: str) -> bool:
    return not _is_readable(pattern) or re.search(pattern, name) is not None


def _is_readable(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def as_json(text: str) -> str:
    """Return a string as JSON, characters as they are where UTF-8 has them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(text)
    return json.dumps(text, ensure_ascii=False)
