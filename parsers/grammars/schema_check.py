"""Whether something is a JSON schema at all, and if not, where it breaks."""

from collections.abc import Mapping
from typing import Any, Final

_KINDS: Final = frozenset(
    ("string", "number", "integer", "boolean", "null", "array", "object", "any")
)
_COUNTS: Final = (
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
)
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


def resolve_pointer(root: Any, reference: str) -> Any:
    """Return what a local reference (`#`, `#/$defs/x`) names; KeyError if nothing."""
    node = root
    for part in reference.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and name.isdigit() and int(name) < len(node):
            node = node[int(name)]
        elif isinstance(node, Mapping) and name in node:
            node = node[name]
        else:
            raise KeyError(reference)
    return node


class _Checker:
    def __init__(self, root: Any, tool: str) -> None:
        self._root = root
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
        self._check_reference(schema, path)
        for key in ("properties", "patternProperties", "$defs", "definitions"):
            parts = schema.get(key, {})
            if not isinstance(parts, Mapping):
                self._fail(f"{path}/{key}", f"got {parts!r}, want an object of schemas")
            for name, part in parts.items():
                self.check(part, f"{path}/{key}/{_escaped(name)}", depth + 1)
        for key in ("additionalProperties", "propertyNames", "items", "not"):
            if key in schema and not (key == "items" and isinstance(schema[key], list)):
                self.check(schema[key], f"{path}/{key}", depth + 1)
        for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            if key in schema:
                self._check_list(schema[key], f"{path}/{key}", depth)
        if isinstance(schema.get("items"), list):
            self._check_list(schema["items"], f"{path}/items", depth)

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
            is_number = isinstance(count, int | float) and not isinstance(count, bool)
            if not is_number or count < 0 or not float(count).is_integer():
                self._fail(f"{path}/{key}", f"got {count!r}, want an integer of 0 or more")
        for key in ("minimum", "maximum", "multipleOf"):
            number = schema.get(key, 1)
            if isinstance(number, bool) or not isinstance(number, int | float):
                self._fail(f"{path}/{key}", f"got {number!r}, want a number")
        if schema.get("multipleOf", 1) <= 0:
            self._fail(f"{path}/multipleOf", f"got {schema['multipleOf']!r}, want more than 0")
        if not isinstance(schema.get("enum", []), list):
            self._fail(f"{path}/enum", f"got {schema['enum']!r}, want a list of values")
        required = schema.get("required", [])
        if isinstance(required, bool):
            return  # draft 3, as some generators still write it: no list, nothing to hold
        if not isinstance(required, list) or not all(isinstance(key, str) for key in required):
            self._fail(f"{path}/required", f"got {required!r}, want a list of property names")
        if not isinstance(schema.get("pattern", ""), str):
            self._fail(f"{path}/pattern", f"got {schema['pattern']!r}, want a string")

    def _check_reference(self, schema: Mapping[str, Any], path: str) -> None:
        reference = schema.get("$ref", "#")
        if not isinstance(reference, str):
            self._fail(f"{path}/$ref", f"got {reference!r}, want a string")
        if reference != "#" and not reference.startswith("#/"):
            return  # to another document or an anchor: nothing that this schema itself breaks
        try:
            resolve_pointer(self._root, reference)
        except KeyError:
            self._fail(f"{path}/$ref", f"{reference!r} names nothing in this schema")

    def _fail(self, path: str, problem: str) -> None:
        raise SchemaError(self._tool, path, problem)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
