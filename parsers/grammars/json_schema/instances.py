"""Whether one given value satisfies a schema that is expanded: for constants and for key names."""

import json
from itertools import pairwise
from typing import Any

from .constants import canonical, kind_of
from .document import Conj
from .expand import Expander
from .key_values import value_of
from .nodes import ArrayRules, Node, ObjectRules


def takes(expander: Expander, conj: Conj, value: Any) -> bool:
    """Return whether the value satisfies the Conj, as far as it is held."""
    return any(takes_node(expander, node, value) for node in expander.expand(conj))


def takes_node(expander: Expander, node: Node, value: Any) -> bool:
    """Return whether the value satisfies the node."""
    text = canonical(value)
    kind = kind_of(text)
    if kind not in node.kinds or text in node.excluded:
        return False
    if node.values is not None and text not in node.values:
        return False
    if kind == "string":
        return node.strings.take(text)
    if kind in ("integer", "fraction"):
        return node.numbers.take(text)
    if kind == "array":
        return _takes_array(expander, node.arrays, json.loads(text))
    return kind != "object" or _takes_object(expander, node.objects, json.loads(text))


def _takes_array(expander: Expander, rules: ArrayRules, items: list[Any]) -> bool:
    if len(items) < rules.least or (rules.most is not None and len(items) > rules.most):
        return False
    if rules.is_unique and any(a == b for a, b in pairwise(sorted(map(canonical, items)))):
        return False
    for conj, least, most in rules.contains:
        found = sum(takes(expander, conj, item) for item in items)
        if found < least or (most is not None and found > most):
            return False
    return all(takes(expander, rules.item(index), item) for index, item in enumerate(items))


def _takes_object(expander: Expander, rules: ObjectRules, value: dict[str, Any]) -> bool:
    if len(value) < rules.least or (rules.most is not None and len(value) > rules.most):
        return False
    if not rules.required <= value.keys():
        return False
    return all(
        takes(expander, rules.names, name) and takes(expander, value_of(rules, name), part)
        for name, part in value.items()
    )


def finite_values(expander: Expander, conj: Conj, limit: int) -> list[str] | None:
    """Return all values that satisfy the Conj as canonical texts, None where there are more."""
    found: dict[str, None] = {}
    for node in expander.expand(conj):
        values = node.values if node.values is not None else _few_values(node, limit)
        if values is None:
            return None
        found.update(
            (text, None) for text in values if takes_node(expander, node, json.loads(text))
        )
    return list(found) if len(found) <= limit else None


def _few_values(node: Node, limit: int) -> list[str] | None:
    if node.kinds <= {"true", "false", "null"}:
        return sorted(node.kinds)
    low, high = node.numbers.minimum, node.numbers.maximum
    is_range = node.kinds == {"integer"} and low is not None and high is not None
    if not is_range or high - low > limit:  # type: ignore[operator]
        return None
    return [str(number) for number in range(int(low) - 1, int(high) + 2)]  # type: ignore[arg-type]


