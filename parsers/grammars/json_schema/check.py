"""Whether something is a JSON schema at all, and if not, where it breaks."""

from collections.abc import Mapping
from typing import Any, Final

from .pointers import ReferenceTable, step

_KINDS: Final = frozenset(
    ("string", "number", "integer", "boolean", "null", "array", "object", "any")
)
_COUNTS: Final = (
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
    *("minContains", "maxContains"),
)
_SCHEMAS: Final = (
    *("additionalProperties", "unevaluatedProperties", "propertyNames", "not", "if", "then"),
    *("else", "items", "additionalItems", "unevaluatedItems", "contains"),
)
_SCHEMA_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_SCHEMA_MAPS: Final = (
    *("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"),
    "dependencies",
)
_STRINGS: Final = ("pattern", "format", "$ref", "$id", "id", "$anchor", "$dynamicRef")
_MAX_DEPTH: Final = 128


class SchemaError(ValueError):
    """A schema is broken; the client must mend it (HTTP 400).

    tool: the tool's name, or the request's field. path: JSON pointer within the schema, empty for
    its root. problem: what stands there and what is right.
    """

    def __init__(self, tool: str, path: str, problem: str) -> None:
        super().__init__(f"tool {tool!r}, schema at {path or '/'}: {problem}")
        self.tool = tool
        self.path = path
        self.problem = problem


def check_schema(schema: Any, tool: str) -> None:
    """Raise SchemaError where a keyword that grammars use has a value it can't have."""
    _Checker(schema, tool).check(schema, "", 0)


class _Checker:
    def __init__(self, root: Any, tool: str) -> None:
        self._references = ReferenceTable(root)
        self._tool = tool

    def check(self, schema: Any, path: str, depth: int) -> None:
        if isinstance(schema, bool):
            return
        if not isinstance(schema, Mapping):
            self._fail(path, f"got {schema!r}, want an object or a boolean")
        if depth > _MAX_DEPTH:
            self._fail(path, f"nested deeper than {_MAX_DEPTH}")
        self._check_type(schema, path)
        self._check_values(schema, path)
        self._check_required(schema, path)
        self._check_reference(schema, path)
        self._check_parts(schema, path, depth)

    def _check_parts(self, schema: Mapping[str, Any], path: str, depth: int) -> None:
        for key in _SCHEMA_MAPS:
            parts = schema.get(key, {})
            if not isinstance(parts, Mapping):
                self._fail(f"{path}/{key}", f"got {parts!r}, want an object of schemas")
            for name, part in parts.items():
                if key == "dependencies" and isinstance(part, str | list):
                    self._check_names(part, step(f"{path}/{key}", name))
                else:
                    self.check(part, step(f"{path}/{key}", name), depth + 1)
        for key in _SCHEMAS:
            if key in schema and not (key == "items" and isinstance(schema[key], list)):
                self.check(schema[key], f"{path}/{key}", depth + 1)
        for key in _SCHEMA_LISTS:
            if key in schema and (key != "items" or isinstance(schema[key], list)):
                self._check_list(schema[key], f"{path}/{key}", depth)

    def _check_list(self, parts: Any, path: str, depth: int) -> None:
        if not isinstance(parts, list) or not parts:
            self._fail(path, f"got {parts!r}, want a list of at least one schema")
        for index, part in enumerate(parts):
            self.check(part, f"{path}/{index}", depth + 1)

    def _check_type(self, schema: Mapping[str, Any], path: str) -> None:
        kinds = schema.get("type", "any")
        listed = kinds if isinstance(kinds, list) else [kinds]
        if not listed or not all(isinstance(kind, str) and kind in _KINDS for kind in listed):
            self._fail(f"{path}/type", f"got {kinds!r}, want one or a list of {sorted(_KINDS)}")

    def _check_values(self, schema: Mapping[str, Any], path: str) -> None:
        for key in _COUNTS:
            count = schema.get(key, 0)
            if not _is_number(count) or count < 0 or not float(count).is_integer():
                self._fail(f"{path}/{key}", f"got {count!r}, want an integer of 0 or more")
        for key in ("minimum", "maximum", "multipleOf"):
            if not _is_number(schema.get(key, 1)):
                self._fail(f"{path}/{key}", f"got {schema[key]!r}, want a number")
        for key in ("exclusiveMinimum", "exclusiveMaximum"):
            bound = schema.get(key, False)
            if not isinstance(bound, bool) and not _is_number(bound):
                self._fail(f"{path}/{key}", f"got {bound!r}, want a number")
        if schema.get("multipleOf", 1) <= 0:
            self._fail(f"{path}/multipleOf", f"got {schema['multipleOf']!r}, want more than 0")
        if not isinstance(schema.get("enum", []), list):
            self._fail(f"{path}/enum", f"got {schema['enum']!r}, want a list of values")
        if not isinstance(schema.get("uniqueItems", False), bool):
            self._fail(f"{path}/uniqueItems", f"got {schema['uniqueItems']!r}, want true or false")
        for key in _STRINGS:
            if not isinstance(schema.get(key, ""), str):
                self._fail(f"{path}/{key}", f"got {schema[key]!r}, want a string")

    def _check_required(self, schema: Mapping[str, Any], path: str) -> None:
        required = schema.get("required", [])
        if not isinstance(required, bool):  # a boolean is draft 3
            if not isinstance(required, list):
                self._fail(f"{path}/required", f"got {required!r}, want a list of property names")
            self._check_names(required, f"{path}/required")
        needs = schema.get("dependentRequired", {})
        if not isinstance(needs, Mapping):
            self._fail(f"{path}/dependentRequired", f"got {needs!r}, want an object of lists")
        for name, names in needs.items():
            self._check_names(names, step(f"{path}/dependentRequired", name))

    def _check_names(self, names: Any, path: str) -> None:
        listed = [names] if isinstance(names, str) else names
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            self._fail(path, f"got {names!r}, want a list of property names")

    def _check_reference(self, schema: Mapping[str, Any], path: str) -> None:
        reference = schema.get("$ref", "#")
        try:
            target = self._references.find(reference, schema)
        except KeyError:
            self._fail(f"{path}/$ref", f"{reference!r} names nothing in this schema")
        if target is not None and not isinstance(target.schema, bool | Mapping):
            self._fail(f"{path}/$ref", f"{reference!r} names {target.schema!r}, which is no schema")

    def _fail(self, path: str, problem: str) -> None:
        raise SchemaError(self._tool, path, problem)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
