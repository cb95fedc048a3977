"""One schema in the words of draft 2020-12, whatever draft or dialect it was written in."""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]


def modern(raw: Mapping[str, Any]) -> Schema:
    """Return the schema's own level in modern form; what stands below stays as it is.

    Read besides 2020-12: draft 3 (`required: true` in a property, type `any`), draft 4 (boolean
    `exclusive*`, `items` as a list), draft 7 (`dependencies`), 2019-09 (`$recursiveRef`) and
    OpenAPI 3.0 (`nullable`).
    """
    schema = dict(raw)
    _mend_bounds(schema)
    _mend_items(schema)
    _mend_type(schema)
    _mend_required(schema)
    _mend_dependencies(schema)
    if "$recursiveRef" in schema:
        schema.setdefault("$ref", schema.pop("$recursiveRef"))
    if "$dynamicRef" in schema:
        schema.setdefault("$ref", schema.pop("$dynamicRef"))
    return schema


def _mend_bounds(schema: Schema) -> None:
    for flag, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(schema.get(flag), bool):
            is_exclusive = schema.pop(flag)
            if is_exclusive and bound in schema:
                schema[flag] = schema.pop(bound)


def _mend_items(schema: Schema) -> None:
    if isinstance(schema.get("items"), list):
        schema["prefixItems"] = schema.pop("items")
        if "additionalItems" in schema:
            schema["items"] = schema["additionalItems"]
    schema.pop("additionalItems", None)


def _mend_type(schema: Schema) -> None:
    kinds = schema.get("type")
    listed = [kinds] if isinstance(kinds, str) else list(kinds or ())
    if "any" in listed:
        del schema["type"]
    elif listed and schema.get("nullable") is True and "null" not in listed:
        schema["type"] = [*listed, "null"]
    if schema.get("enum") == []:
        del schema["enum"]


def _mend_required(schema: Schema) -> None:
    own = schema.get("required", ())
    names = [] if isinstance(own, bool) else list(own)
    for name, part in schema.get("properties", {}).items():
        if isinstance(part, Mapping) and part.get("required") is True and name not in names:
            names.append(name)
    schema.pop("required", None)
    if names:
        schema["required"] = names


def _mend_dependencies(schema: Schema) -> None:
    for name, needs in schema.pop("dependencies", {}).items():
        key = "dependentRequired" if isinstance(needs, str | list) else "dependentSchemas"
        value = [needs] if isinstance(needs, str) else needs
        schema[key] = {**schema.get(key, {}), name: value}
