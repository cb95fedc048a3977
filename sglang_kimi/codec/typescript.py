"""One function's JSON schema as the TypeScript that the model was trained on (FORMAT section 3.5).

A schema is first read into types, then printed. The two steps are apart because definitions count
in the order in which schemas are read (key order), while an object prints required fields first.
Whoever calls has sorted every dictionary by key already.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_INDENT: Final = "  "

_CONSTRAINTS: Final = {
    "string": ("maxLength", "minLength", "pattern"),
    "number": ("maximum", "minimum"),
    "integer": ("maximum", "minimum"),
    "array": ("maxItems", "minItems"),
}

_TYPES_IN_A_LIST: Final = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "null": "null",
    "object": "{}",
    "array": "Array<any>",
}

# Only these four are held against the enum's values; None fits every type.
_ENUM_VALUES: Final[dict[str, type | tuple[type, ...]]] = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
}


class UnprintableSchemaError(ValueError):
    """TypeScript cannot show a schema: print the whole list of tools as JSON instead."""


def print_function(function: Any) -> str:
    """Return interfaces, description and type of one `function` object, without end of line.

    Raises UnprintableSchemaError where the format has no TypeScript for the schema.
    """
    if not isinstance(function, Mapping):
        raise UnprintableSchemaError(f"function: want an object, got {function!r}")
    reader = _Reader()
    root = reader.read_object(_object(function.get("parameters") or {}), description=None)
    is_recursive = reader.met_root  # before the definitions: a "#" met there does not count
    parts = [_print_root_interface(root)] if is_recursive else []
    # A copy: definitions that are first met inside definitions are not printed.
    for name, schema in list(reader.definitions.items()):
        parts.append(_print_interface(name, _object(schema), reader))
    parts.append(_comment(function.get("description"), ""))
    parameters = "parameters" if is_recursive else root.print("")
    parts.append(f"type {function.get('name', 'function')} = (_: {parameters}) => any;")
    return "\n".join(part for part in parts if part)


def _print_root_interface(root: "_Object") -> str:
    if not root.fields:  # the reference to the root stands in additionalProperties
        return "interface parameters {}"
    fields = ",\n".join(field.print(_INDENT) for field in root.fields)
    return f"interface parameters {{\n{fields}\n}}"


def _print_interface(name: str, schema: Mapping[str, Any], reader: "_Reader") -> str:
    comment = _comment(schema.get("description"), "")
    heading = f"{comment}\n" if comment else ""
    return f"{heading}interface {name} {reader.read(schema).print('')}"


def _comment(text: Any, indent: str) -> str:
    if not text:
        return ""
    if not isinstance(text, str):
        raise UnprintableSchemaError(f"description: want a text, got {text!r}")
    return "\n".join(f"{indent}// {line}" if line else "" for line in text.split("\n"))


@dataclass(frozen=True)
class _Type(ABC):
    """A type with what its docstring shows: description and `key: value` constraints."""

    description: Any
    constraints: str

    @abstractmethod
    def print(self, indent: str) -> str:
        """Return the type's text; lines after the first are indented from `indent`."""

    def docstring(self, indent: str) -> str:
        comment = _comment(self.description, indent)
        lines = [comment] if comment else []
        if self.constraints:
            lines.append(f"{indent}// {self.constraints}")
        return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True)
class _Plain(_Type):
    text: str

    def print(self, indent: str) -> str:
        return self.text


@dataclass(frozen=True)
class _Union(_Type):
    members: list[_Type]

    def print(self, indent: str) -> str:
        return " | ".join(member.print(indent) for member in self.members)


@dataclass(frozen=True)
class _Array(_Type):
    items: _Type

    def print(self, indent: str) -> str:
        inner = indent + _INDENT
        if docstring := self.items.docstring(inner):
            return f"Array<\n{docstring}{inner}{self.items.print(inner)}\n{indent}>"
        return f"Array<{self.items.print(indent)}>"


@dataclass(frozen=True)
class _Field:
    name: str
    type: _Type
    default: Any
    is_required: bool

    def print(self, indent: str) -> str:
        mark = "" if self.is_required else "?"
        default = ""
        if self.default is not None:
            default = f"{indent}// Default: {_print_default(self.default)}\n"
        field_type = self.type.print(indent)
        return f"{self.type.docstring(indent)}{default}{indent}{self.name}{mark}: {field_type}"


@dataclass(frozen=True)
class _Object(_Type):
    fields: list[_Field]  # in key order
    extra: _Type | None

    def print(self, indent: str) -> str:
        inner = indent + _INDENT
        required_first = sorted(self.fields, key=lambda field: not field.is_required)
        entries = [field.print(inner) for field in required_first]
        if self.extra is not None:
            entries.append(f"{inner}[k: string]: {self.extra.print(inner)}")
        if not entries:
            return "{}"
        body = ",\n".join(entries)
        return f"{{\n{body}\n{indent}}}"


class _Reader:
    """Reads the schemas of one function and remembers the definitions and root references met."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self.met_root = False

    def read(self, schema: Any) -> _Type:
        """Return the type of a schema: the rules of section 3.5, the first that fits."""
        if isinstance(schema, bool):
            return _Plain(None, "", "any" if schema else "null")
        schema = _object(schema)
        description = schema.get("description")
        if "$ref" in schema:
            return _Plain(description, "", self._reference(schema["$ref"]))
        if "anyOf" in schema:
            members = [self.read(member) for member in _list(schema["anyOf"], "anyOf")]
            return _Union(description, "", members)
        if "enum" in schema:
            return _Plain(description, "", _read_enum(schema))
        if "type" in schema:
            return self._read_typed(schema, description)
        if not schema:
            return _Plain(None, "", "any")
        raise UnprintableSchemaError(f"a schema without type, enum, anyOf or $ref: {schema!r}")

    def read_object(self, schema: Mapping[str, Any], description: Any) -> _Object:
        """Return an object type; the root is one whatever its `type` says."""
        self.definitions.update(_object(schema.get("$defs") or {}))
        extra = schema.get("additionalProperties")
        if isinstance(extra, bool):
            extra_type: _Type | None = _Plain(None, "", "any" if extra else "never")
        else:
            extra_type = None if extra is None else self.read(extra)
        fields = self._read_fields(schema) if "properties" in schema else []
        return _Object(description, "", fields, extra_type)

    def _read_fields(self, schema: Mapping[str, Any]) -> list[_Field]:
        try:
            required = frozenset(schema.get("required", ()))
        except TypeError as error:
            raise UnprintableSchemaError(
                f"required: want names, got {schema['required']!r}"
            ) from error
        return [
            _Field(
                name,
                self.read(field),
                field.get("default") if isinstance(field, Mapping) else None,
                name in required,
            )
            for name, field in _object(schema["properties"]).items()
        ]

    def _read_typed(self, schema: Mapping[str, Any], description: Any) -> _Type:
        kind = schema["type"]
        if isinstance(kind, list):
            return _Plain(description, "", " | ".join(_read_listed(name) for name in kind))
        if not isinstance(kind, str):
            raise UnprintableSchemaError(f"type: want a name or a list of names, got {kind!r}")
        if kind == "object":
            return self.read_object(schema, description)
        keys = _CONSTRAINTS.get(kind, ())
        constraints = ", ".join(f"{key}: {schema[key]}" for key in keys if key in schema)
        if kind == "array":
            items = schema.get("items")
            item_type = self.read(items) if items else _Plain(None, "", "any")
            return _Array(description, constraints, item_type)
        return _Plain(description, constraints, "number" if kind == "integer" else kind)

    def _reference(self, target: Any) -> str:
        if target == "#":
            self.met_root = True
            return "parameters"
        name = target.removeprefix("#/$defs/") if isinstance(target, str) else None
        if name == target or name not in self.definitions:
            raise UnprintableSchemaError(f"$ref: want '#' or a definition met before: {target!r}")
        _object(self.definitions[name])  # true and false can be no interface
        return name


def _read_enum(schema: Mapping[str, Any]) -> str:
    values = _list(schema["enum"], "enum")
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = _only_type_but_null(kind)
    wanted = _ENUM_VALUES.get(kind) if isinstance(kind, str) else None
    if wanted is not None:
        for value in values:
            if value is not None and not isinstance(value, wanted):
                raise UnprintableSchemaError(f"enum: {value!r} is no {kind}")
    return " | ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in values)


def _only_type_but_null(kinds: list[Any]) -> Any:
    """Return the type that an enum's values must have; at most one type beside null is allowed."""
    others = [kind for kind in kinds if kind != "null"]
    if len(kinds) not in (1, 2) or len(others) > 1:
        raise UnprintableSchemaError(f"type of an enum: want one type, or one and null: {kinds!r}")
    return others[0] if others else "null"


def _read_listed(name: Any) -> str:
    if not isinstance(name, str) or name not in _TYPES_IN_A_LIST:
        raise UnprintableSchemaError(f"type: unknown name in a list: {name!r}")
    return _TYPES_IN_A_LIST[name]


def _print_default(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UnprintableSchemaError(f"want an object, got {value!r}")
    return value


def _list(value: Any, key: str) -> list[Any]:
    if not isinstance(value, list):
        raise UnprintableSchemaError(f"{key}: want a list, got {value!r}")
    return value
