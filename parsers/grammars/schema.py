"""JSON schemas made ready for xgrammar, which drops, mistakes or refuses some keywords.

Every schema is checked (`SchemaError` names the place), put into modern form, and rewritten where
xgrammar would silently allow more than the schema: `allOf` and what stands beside `anyOf` are
merged, required keys are declared, enums are filtered by their type, patterns are anchored as JSON
Schema means them. Keys come in the order of the tool declaration in the prompt, which is where the
model has seen them. An object that declares properties takes no others unless it says so: the
declaration in the prompt doesn't show that it might, and telling other keys from declared ones
takes a second to compile for five keys. Free objects stay free.

Not held here: `not`, `if`, `dependentRequired`, `contains`, `uniqueItems` over free items,
multiples that are no whole number, `unevaluatedProperties` through references, lengths above
MAX_COUNTED_LENGTH, lengths beside patterns.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from .schema_check import SchemaError, check_schema
from .schema_merge import Merger
from .schema_patterns import DATE, IPV4, whole_pattern

__all__ = ["MAX_COUNTED_LENGTH", "SchemaError", "arguments_schema", "prepare_schema"]

MAX_COUNTED_LENGTH: Final = 128
"""Longer minLength and maxLength aren't held: compiling them takes seconds."""
_INT64: Final = 2**63 - 1
_OBJECT_KEYS: Final = (
    *("properties", "required", "additionalProperties", "patternProperties", "propertyNames"),
    *("minProperties", "maxProperties"),
)
_EXACT_FORMATS: Final = {"date": DATE, "ipv4": IPV4}
_MAX_UNIQUE: Final = 4

_Node = dict[str, Any]


def arguments_schema(parameters: Any, tool: str) -> Any:
    """Return the schema of a tool's arguments, which are always one JSON object.

    parameters: as declared; None declares a function without parameters.
    Raises SchemaError if they don't allow an object.
    """
    if parameters is None:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    check_schema(parameters, tool)
    if isinstance(parameters, bool):
        parameters = {}
    kinds = parameters.get("type", "object")
    if kinds != "object" and "object" not in kinds:
        raise SchemaError(tool, "/type", f"got {kinds!r}, want 'object': arguments are an object")
    if "type" in parameters:
        return {**parameters, "type": "object"}
    if "$ref" in parameters:
        return {**parameters, "allOf": [*parameters.get("allOf", ()), {"type": "object"}]}
    return {**parameters, "type": "object"}


def prepare_schema(schema: Any, owner: str, *, keep_patterns: bool = True) -> Any:
    """Return an equivalent schema that xgrammar holds as far as it can; the input stays as it is.

    owner: named in errors. keep_patterns: False drops `pattern`, for regexes that xgrammar lacks.
    Raises SchemaError for a schema that is none, or refers to nothing.
    """
    check_schema(schema, owner)
    return _Rewriter(schema, owner, keep_patterns).rewrite(schema)


class _Rewriter:
    def __init__(self, root: Any, owner: str, keep_patterns: bool) -> None:
        self._merger = Merger(root, owner)
        self._keep_patterns = keep_patterns

    def rewrite(self, schema: Any) -> Any:
        if not isinstance(schema, Mapping):
            return schema
        node = _modern(dict(schema))
        node = self._merger.flatten(node)
        _filter_enum(node)
        _use_unique_arrays(node)
        self._rewrite_strings(node)
        _rewrite_numbers(node)
        _open_object(node)
        return self._rewrite_parts(node)

    def _rewrite_parts(self, node: _Node) -> _Node:
        for key in ("properties", "patternProperties", "$defs", "definitions"):
            if key in node:
                node[key] = {name: self.rewrite(part) for name, part in node[key].items()}
        if "properties" in node:
            _drop_impossible(node)
            node["properties"] = _prompt_order(node["properties"], node.get("required", ()))
        for key in ("items", "additionalProperties", "propertyNames"):
            if key in node:
                node[key] = self.rewrite(node[key])
        for key in ("anyOf", "oneOf", "prefixItems", "allOf"):
            if key in node:
                node[key] = [self.rewrite(part) for part in node[key]]
        return node

    def _rewrite_strings(self, node: _Node) -> None:
        if "pattern" in node:
            pattern = whole_pattern(node["pattern"], node.get("minLength"), node.get("maxLength"))
            if pattern is None or not self._keep_patterns:
                del node["pattern"]
            else:
                node["pattern"] = pattern
        elif node.get("format") in _EXACT_FORMATS and "enum" not in node and "const" not in node:
            node["pattern"] = _EXACT_FORMATS[node.pop("format")]
        for key in ("minLength", "maxLength"):
            if key in node and ("pattern" in node or node[key] > MAX_COUNTED_LENGTH):
                del node[key]


def _modern(node: _Node) -> _Node:
    """Turn draft-4 forms into those of 2020-12."""
    for flag, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(node.get(flag), bool):
            is_exclusive = node.pop(flag)
            if is_exclusive and bound in node:
                node[flag] = node.pop(bound)
    if isinstance(node.get("items"), list):
        node["prefixItems"] = node.pop("items")
        if "additionalItems" in node:
            node["items"] = node.pop("additionalItems")
    if node.get("type") == "any":
        del node["type"]
    if node.get("enum") == [] or ("const" in node and node["const"] in node.get("enum", ())):
        del node["enum"]
    if isinstance(node.get("required"), bool):
        del node["required"]
    return node


def _filter_enum(node: _Node) -> None:
    """Leave the enum's values that have the type beside it, and drop the type.

    Beside an enum xgrammar ignores a type; beside a list of types it ignores the enum.
    """
    kinds = node.get("type")
    if kinds is None or ("enum" not in node and "const" not in node):
        return
    if "enum" in node:
        allowed = [kinds] if isinstance(kinds, str) else kinds
        fitting = [value for value in node["enum"] if any(_is_kind(value, k) for k in allowed)]
        node["enum"] = fitting or node["enum"]
    del node["type"]


def _is_kind(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, int | float):
        return kind == "number" or (kind == "integer" and float(value).is_integer())
    names = {str: "string", list: "array", dict: "object", type(None): "null"}
    return names[type(value)] == kind


def _use_unique_arrays(node: _Node) -> None:
    """Write out the arrays of distinct values where there are few."""
    values = node["items"].get("enum") if isinstance(node.get("items"), Mapping) else None
    if not node.get("uniqueItems") or values is None or len(values) > _MAX_UNIQUE:
        return
    if node.get("type", "array") != "array" or "prefixItems" in node:
        return
    least, most = node.pop("minItems", 0), node.pop("maxItems", len(values))
    arrays: list[list[Any]] = [[]]
    for _ in range(len(values)):
        arrays += [
            [*array, value]
            for array in arrays
            if len(array) == len(arrays[-1])
            for value in values
            if value not in array
        ]
    kept = [array for array in arrays if least <= len(array) <= most]
    if kept:
        for key in ("items", "uniqueItems", "type"):
            node.pop(key, None)
        node["anyOf"] = [_exact_array(array) for array in kept]


def _exact_array(values: list[Any]) -> _Node:
    num_items = {"minItems": len(values), "maxItems": len(values)}
    if not values:
        return {"type": "array", **num_items}
    prefix = [{"const": value} for value in values]
    return {"type": "array", "prefixItems": prefix, "items": False, **num_items}


def _rewrite_numbers(node: _Node) -> None:
    kinds = node.get("type")
    multiple = node.get("multipleOf")
    if kinds == "number" and multiple:
        if float(multiple).is_integer():
            node["type"] = "integer"
            node["multipleOf"] = int(multiple)
        elif float(1 / multiple).is_integer():
            node["type"] = "integer"
            del node["multipleOf"]
    if node.get("type") == "integer":
        for key, rounded in (("minimum", math.ceil), ("maximum", math.floor)):
            if key in node:
                node[key] = rounded(node[key])
        for key, rounded in (("exclusiveMinimum", math.floor), ("exclusiveMaximum", math.ceil)):
            if key in node:
                node[key] = rounded(node[key])
        for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if key in node and abs(node[key]) > _INT64:
                node[key] = _INT64 if node[key] > 0 else -_INT64


def _open_object(node: _Node) -> None:
    """Say whether more keys may come, and declare required ones."""
    kinds = node.get("type")
    is_object = kinds == "object" or (isinstance(kinds, list) and "object" in kinds)
    if not is_object and not (kinds is None and any(key in node for key in _OBJECT_KEYS)):
        return
    if kinds is None and "enum" not in node and "const" not in node and "$ref" not in node:
        node["type"] = "object"
    if "additionalProperties" not in node:
        node["additionalProperties"] = node.get("unevaluatedProperties", _is_free(node))
    extra = node["additionalProperties"]
    missing = [key for key in node.get("required", ()) if key not in node.get("properties", {})]
    if missing:
        declared = extra if isinstance(extra, Mapping) else {}
        node["properties"] = {**node.get("properties", {}), **dict.fromkeys(missing, declared)}


def _is_free(node: _Node) -> bool:
    """Return whether an object without additionalProperties needs or invites undeclared keys."""
    declared = node.get("properties", {})
    if not declared or "patternProperties" in node or "$ref" in node:
        return True
    return bool(node.get("minProperties", 0) > len(declared))


def _drop_impossible(node: _Node) -> None:
    properties = node["properties"]
    node["properties"] = {key: part for key, part in properties.items() if part is not False}


def _prompt_order(properties: Mapping[str, Any], required: Any) -> _Node:
    """Order keys as the tool declaration prints them: required first, each group by name."""
    return {
        key: properties[key] for key in sorted(properties, key=lambda k: (k not in required, k))
    }
