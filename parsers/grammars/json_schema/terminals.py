"""Scalars of a node as terminals: strings, numbers, constants."""

import json
import math
import re
from dataclasses import replace
from fractions import Fraction
from typing import Final

from .constants import kind_of
from .formats import FORMAT_PATTERNS
from .key_values import as_json, is_unicode
from .nodes import Node
from .numbers import number_terminal
from .scalar_rules import NumberRules, StringRules
from .shapes import Terminal
from .strings import any_string, literal, string_terminal

_FREE_FORMATS: Final = frozenset(("password", "binary"))
"""Formats that ask nothing of the text."""

_FRACTION: Final = (
    r"/-?(?:(?:0|[1-9][0-9]{0,8})\.[0-9]{0,5}[1-9][0-9]{0,16}"
    r"|[1-9](?:\.[0-9]{1,64})?[eE]-0{0,2}[1-9][0-9]{0,2})/"
)
"""Numbers that a double doesn't round to whole ones, plain or scientific."""
_MAX_HOLES: Final = 32
_NO_JSON: Final = frozenset(("NaN", "Infinity", "-Infinity"))

Relaxed = list[tuple[str, str]]


def string_choice(
    rules: StringRules, excluded: tuple[str, ...], relaxed: Relaxed
) -> Terminal | None:
    """Return the terminal of strings by the rules, but for `excluded` ones; None if it is empty."""
    if any(name not in FORMAT_PATTERNS and name not in _FREE_FORMATS for name in rules.formats):
        relaxed.append((rules.pointer, "format"))
    if replace(rules, formats=()) == StringRules() and not FORMAT_PATTERNS.keys() & rules.formats:
        return _other_strings(excluded)
    found = string_terminal(
        patterns=rules.patterns,
        not_patterns=rules.not_patterns,
        min_length=rules.least,
        max_length=rules.most,
        formats=rules.formats,
        excluded=excluded,
    )
    relaxed += [(rules.pointer, keyword) for keyword in found.relaxed]
    if found.is_empty:
        return None
    samples = tuple(map(as_json, found.samples))
    return Terminal(found.expression, samples, is_hint=True, is_patterned=True)


def _other_strings(excluded: tuple[str, ...]) -> Terminal:
    if not excluded:
        return Terminal(any_string(), ('""',))
    names = ("", *map(str, range(len(excluded) + 1)))
    samples = tuple(as_json(name) for name in names if name not in excluded)[:2]
    unwanted = " | ".join(literal(text) for text in excluded)
    return Terminal(f"{any_string()} & ~({unwanted})", samples)


def number_choice(node: Node, relaxed: Relaxed) -> Terminal | None:
    """Return the terminal of the node's numbers; None if it has none."""
    kinds = node.kinds & {"integer", "fraction"}
    step = node.numbers.step()
    is_whole = step is not None and Fraction(str(step)).denominator == 1
    if not kinds or (kinds == {"fraction"} and is_whole):
        return None
    found = []
    for rules in _between(node, relaxed):
        part = _numbers(rules, is_integer=kinds == {"integer"})
        relaxed += [(rules.pointer, keyword) for keyword in part.relaxed]
        if not part.is_empty:
            found.append(part)
    if not found:
        return None
    expression = " | ".join(part.expression for part in found)
    if kinds == {"fraction"}:
        expression = f"({expression}) & {_FRACTION}"
    elif node.numbers.is_plain and kinds == {"integer"}:
        expression = f"({expression}) & /-?[0-9]+/"
    texts = sorted((text for part in found for text in part.samples), key=len)
    samples = tuple(text for text in texts if _takes(node, text))
    if not samples:
        samples = tuple(text for text in _near(node.numbers) if _takes(node, text))[:1]
    return Terminal(expression, samples)


def _between(node: Node, relaxed: Relaxed) -> list[NumberRules]:
    """Return the ranges between excluded numbers: so none of their spellings is left."""
    values = sorted(json.loads(text) for text in node.excluded if _is_number(text))
    values = [value for value in values if math.isfinite(value)]
    if len(values) > _MAX_HOLES:
        relaxed.append((node.pointer, "not"))
        values = []
    lows = [NumberRules(), *(NumberRules(above=value) for value in values)]
    highs = [*(NumberRules(below=value) for value in values), NumberRules()]
    ranges = [node.numbers.both(low).both(high) for low, high in zip(lows, highs, strict=True)]
    return [rules for rules in ranges if rules.is_possible]


def constant(text: str) -> Terminal | None:
    """Return the terminal of one scalar's spellings.

    None for what JSON can't carry: a string with a lone surrogate, NaN, Infinity.
    """
    if text in _NO_JSON:
        return None
    kind = kind_of(text)
    if kind in ("integer", "fraction"):
        return Terminal(number_constant(text), (text,), is_hint=True)
    if kind != "string":
        return Terminal(f'"{text}"', (text,), is_hint=True)
    value = json.loads(text)
    if not is_unicode(value):
        return None
    return Terminal(literal(value), (as_json(value),), is_hint=True)


def number_constant(text: str) -> str:
    """Return the expression of a number's usual spellings: `1`, `1.0`, `1.00`; `1.5`, `1.50`."""
    value = json.loads(text)
    digits = str(int(value)) if value == int(value) else text
    if "e" in digits or len(digits) > 60:
        return f'"{text}"'
    if value == 0:
        return r"/-?0(\.0{1,32})?/"
    tail = "0{0,32}" if "." in digits else r"(\.0{1,32})?"
    spelled = f"/{re.escape(digits)}{tail}/"
    return spelled if "e" not in text else f'({spelled} | "{text}")'


def _numbers(rules: NumberRules, *, is_integer: bool):  # type: ignore[no-untyped-def]
    return number_terminal(
        is_integer=is_integer,
        minimum=rules.minimum,
        maximum=rules.maximum,
        exclusive_minimum=rules.above,
        exclusive_maximum=rules.below,
        multiple_of=rules.step(),
    )


def _takes(node: Node, text: str) -> bool:
    return node.numbers.take(text) and kind_of(text) in node.kinds and text not in node.excluded


def _near(rules: NumberRules) -> list[str]:
    bounds = [rules.minimum, rules.maximum, rules.above, rules.below]
    known = [float(bound) for bound in bounds if bound is not None] or [0.0]
    steps = [0.5, -0.5, 0.25, -0.25, 0.1, -0.1, 0.01, -0.01, *map(float, rules.multiples)]
    middle = [sum(known) / len(known)]
    whole = [str(round(value) + step) for value in known for step in (0, 1, -1, 2, -2)]
    return [*whole, *(str(value + step) for value in (*known, *middle) for step in (*steps, 0.0))]


def _is_number(text: str) -> bool:
    return kind_of(text) in ("integer", "fraction")
