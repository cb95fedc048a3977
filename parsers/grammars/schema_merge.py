"""One schema out of several that hold together: `allOf`, and what stands beside `anyOf`."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from .schema_check import SchemaError, resolve_pointer

_ANNOTATIONS: Final = frozenset(
    (
        *("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"),
        *("$schema", "$id", "$comment", "$anchor", "$defs", "definitions", "format"),
    )
)
_CHOICES: Final = ("anyOf", "oneOf")
_MAX_BRANCHES: Final = 64
_MAX_DEPTH: Final = 16

_Node = dict[str, Any]


class _ImpossibleError(Exception):
    """No instance satisfies both schemas."""


class Merger:
    """Merges subschemas of one root. Raises SchemaError where nothing can satisfy them."""

    def __init__(self, root: Any, owner: str) -> None:
        self._root = root
        self._owner = owner

    def flatten(self, node: _Node) -> _Node:
        """Return the node without `allOf`, and without anything that holds beside a choice."""
        try:
            return self._flatten(node, 0)
        except _ImpossibleError as error:
            raise SchemaError(self._owner, "", f"no value satisfies it: {error}") from error

    def _flatten(self, node: _Node, depth: int) -> _Node:
        if depth > _MAX_DEPTH:
            return node
        if "allOf" in node:
            rest = {key: value for key, value in node.items() if key != "allOf"}
            for part in node["allOf"]:
                rest = self._both(rest, part, depth)
            return self._flatten(rest, depth + 1)
        choice = next((key for key in _CHOICES if key in node), None)
        if choice is None:
            return node
        beside = {key: value for key, value in node.items() if key != choice}
        if not beside.keys() - _ANNOTATIONS:
            return node
        return self._distribute(beside, node[choice], depth)

    def _distribute(self, beside: _Node, branches: list[Any], depth: int) -> _Node:
        """Move what stands beside a choice into its branches; impossible branches go."""
        kept = {key: value for key, value in beside.items() if key in _ANNOTATIONS}
        held = {key: value for key, value in beside.items() if key not in _ANNOTATIONS}
        merged = []
        for branch in branches:
            try:
                merged.append(self._flatten(self._both(held, branch, depth), depth + 1))
            except _ImpossibleError:
                continue
        if not merged:
            raise _ImpossibleError("no branch of anyOf or oneOf fits what stands beside it")
        return {**kept, "anyOf": merged[:_MAX_BRANCHES]}

    def _both(self, one: _Node, other: Any, depth: int) -> _Node:
        """Return a schema for what satisfies both."""
        if other is False:
            raise _ImpossibleError("a part of it is false")
        if other is True or not other:
            return one
        other = self._resolved(dict(other), depth)
        one = self._resolved(one, depth)
        result = dict(one)
        for key, value in other.items():
            if key not in result:
                result[key] = value
            elif key in _CHOICES:
                result.setdefault("allOf", []).append({key: value})
            elif key in ("properties", "patternProperties"):
                result[key] = self._both_maps(result[key], value, depth)
            elif key in ("items", "additionalProperties", "propertyNames"):
                result[key] = self._both_parts(result[key], value, depth)
            elif key in _COMBINE:
                result[key] = _COMBINE[key](result[key], value)
        _close(result, one, other)
        return result

    def _both_maps(
        self, one: Mapping[str, Any], other: Mapping[str, Any], depth: int
    ) -> dict[str, Any]:
        result = dict(one)
        for name, part in other.items():
            result[name] = self._both_parts(one[name], part, depth) if name in one else part
        return result

    def _both_parts(self, one: Any, other: Any, depth: int) -> Any:
        if one is False or other is False:
            return False
        if one is True:
            return other
        if other is True or one == other:
            return one
        try:
            return self._both(dict(one), other, depth + 1)
        except _ImpossibleError:
            return False

    def _resolved(self, node: _Node, depth: int) -> _Node:
        """Put what a local reference names in its place, so that it can be merged."""
        reference = node.get("$ref")
        if depth > _MAX_DEPTH or not isinstance(reference, str):
            return node
        try:
            target = resolve_pointer(self._root, reference) if reference.startswith("#") else True
        except KeyError:
            target = True
        beside = {key: value for key, value in node.items() if key != "$ref"}
        if reference == "#" and isinstance(target, Mapping):
            target = {key: value for key, value in target.items() if key != "$defs"}
        return self._both(beside, target, depth + 1)


def _close(result: _Node, one: _Node, other: _Node) -> None:
    """A property that only one side declares must satisfy the other's additionalProperties."""
    for closed, open_ in ((one, other), (other, one)):
        if closed.get("additionalProperties", True) is not False:
            continue
        declared = closed.get("properties", {})
        for name in open_.get("properties", {}):
            if name not in declared and "patternProperties" not in closed:
                result["properties"] = {**result["properties"], name: False}


def _both_kinds(one: Any, other: Any) -> Any:
    ones = [one] if isinstance(one, str) else one
    others = [other] if isinstance(other, str) else other
    kinds = [kind for kind in ones if kind in others]
    if "number" in ones and "integer" in others and "integer" not in kinds:
        kinds.append("integer")
    if "integer" in ones and "number" in others and "integer" not in kinds:
        kinds.append("integer")
    if not kinds:
        raise _ImpossibleError(f"type can't be both {one!r} and {other!r}")
    return kinds[0] if len(kinds) == 1 else kinds


def _both_enums(one: list[Any], other: list[Any]) -> list[Any]:
    values = [value for value in one if value in other]
    if not values:
        raise _ImpossibleError(f"enum can't be in both {one!r} and {other!r}")
    return values


def _both_constants(one: Any, other: Any) -> Any:
    if one != other:
        raise _ImpossibleError(f"const can't be both {one!r} and {other!r}")
    return one


_COMBINE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "type": _both_kinds,
    "enum": _both_enums,
    "const": _both_constants,
    "required": lambda one, other: [*one, *(key for key in other if key not in one)],
    "allOf": lambda one, other: [*one, *other],
    "minimum": max,
    "exclusiveMinimum": max,
    "minLength": max,
    "minItems": max,
    "minProperties": max,
    "maximum": min,
    "exclusiveMaximum": min,
    "maxLength": min,
    "maxItems": min,
    "maxProperties": min,
    "uniqueItems": lambda one, other: one or other,
}
