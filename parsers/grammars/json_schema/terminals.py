"""Scalars of a node as terminals: strings, numbers, constants."""

import json
import re
from fractions import Fraction

from .constants import kind_of
from .key_values import as_json
from .nodes import Node
from .numbers import number_terminal
from .scalar_rules import NumberRules, StringRules
from .shapes import Terminal
from .strings import any_string, literal, string_terminal

Relaxed = list[tuple[str, str]]


def string_choice(
    rules: StringRules, excluded: tuple[str, ...], relaxed: Relaxed
) -> Terminal | None:
    """Return the terminal of strings by the rules, but for `excluded` ones; None if it is empty."""
    if rules == StringRules() and not excluded:
        return Terminal(any_string(), ('""',))
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
    return Terminal(found.expression, samples, True, rules != StringRules())


def number_choice(node: Node, relaxed: Relaxed) -> Terminal | None:
    """Return the terminal of the node's numbers; None if it has none."""
    kinds = node.kinds & {"integer", "fraction"}
    if not kinds:
        return None
    found = _numbers(node.numbers, is_integer=kinds == {"integer"})
    relaxed += [(node.numbers.pointer, keyword) for keyword in found.relaxed]
    if found.is_empty:
        return None
    unwanted = [number_constant(text) for text in sorted(node.excluded) if _is_number(text)]
    if kinds == {"fraction"}:
        step = node.numbers.step()
        if step is not None and Fraction(str(step)).denominator == 1:
            return None
        unwanted.append(number_terminal(is_integer=True).expression)
    samples = tuple(text for text in found.samples if _takes(node, text))
    if kinds == {"fraction"} and not samples:
        samples = tuple(text for text in _fractions(node.numbers) if _takes(node, text))[:1]
    if not unwanted:
        return Terminal(found.expression, samples)
    return Terminal(f"({found.expression}) & ~({' | '.join(unwanted)})", samples)


def constant(text: str) -> Terminal | None:
    """Return the terminal of one scalar's spellings; None for a string that UTF-8 can't hold."""
    kind = kind_of(text)
    if kind in ("integer", "fraction"):
        return Terminal(number_constant(text), (text,), is_hint=True)
    if kind != "string":
        return Terminal(f'"{text}"', (text,), is_hint=True)
    value = json.loads(text)
    try:
        value.encode()
    except UnicodeEncodeError:
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


def _fractions(rules: NumberRules) -> list[str]:
    bounds = [rules.minimum, rules.maximum, rules.above, rules.below]
    known = [float(bound) for bound in bounds if bound is not None] or [0.0]
    steps = [0.5, -0.5, 0.25, -0.25, 0.1, -0.1, 0.01, -0.01, *map(float, rules.multiples)]
    middle = [sum(known) / len(known)]
    return [str(value + step) for value in (*known, *middle) for step in (*steps, 0.0)]


def _is_number(text: str) -> bool:
    return kind_of(text) in ("integer", "fraction")
