"""How long the shortest instances are, and so how far one opened element is from its end."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .pattern_samples import sample

_MAX_DEPTH = 12
# What any JSON value or free key costs beside the schema's own: `"":0,` and blanks.
_MIN_GROWTH = 8
_UNKNOWN_TEXT = '"xxxxxxxxxxxxxxxx"'
_SAMPLES = {"string": '""', "number": "0", "integer": "0", "boolean": "true", "null": "null"}


def largest_growth(schema: Any, num_tokens: Callable[[bytes], int]) -> int:
    """Return the tokens of the largest of all subschemas' shortest instances.

    schema: as `schema.prepare_schema` returns it. num_tokens: counts the tokens of a text. An
    estimate from the keywords that make instances long; it needn't be exact, being a margin.
    """
    growth = _MIN_GROWTH
    for name, subschema in _subschemas(schema):
        text = _shortest(subschema, schema, 0)
        if text is not None:
            key = json.dumps(name, ensure_ascii=False) + ":"
            growth = max(growth, num_tokens((key + text + ",").encode()) + 2)
    return growth


def without_endless(schema: Any) -> Any:
    """Return a schema without the optional properties that no finite value satisfies.

    One that requires itself, say: begun, such a value could only be cut.
    """

    def trimmed(node: Any) -> Any:
        if isinstance(node, list):
            return [trimmed(part) for part in node]
        if not isinstance(node, Mapping):
            return node
        result = {key: trimmed(part) for key, part in node.items()}
        properties = node.get("properties")
        if isinstance(properties, Mapping):
            endless = {
                key
                for key, part in properties.items()
                if key not in node.get("required", ()) and _shortest(part, schema, 0) is None
            }
            kept = {key: part for key, part in result["properties"].items() if key not in endless}
            closed = {"additionalProperties": False} if endless else {}
            result |= {"properties": kept, **closed}
        return result

    return trimmed(schema)


def _subschemas(schema: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every object that may be a schema with the key it stands under."""
    if isinstance(schema, Mapping):
        yield name, schema
        for key, value in schema.items():
            if key not in ("enum", "const", "default", "examples"):
                yield from _subschemas(value, str(key))
    elif isinstance(schema, list):
        for item in schema:
            yield from _subschemas(item, name)


def _shortest(schema: Any, root: Any, depth: int) -> str | None:
    """Return a text about as long as the shortest instance, None if there is none so deep."""
    if depth > _MAX_DEPTH:
        return None
    if not isinstance(schema, Mapping):
        return "0"
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    if "enum" in schema:
        return _shorter(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    if "$ref" in schema:
        return _shortest(_resolve(schema["$ref"], root), root, depth + 1)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return _shorter(_shortest(branch, root, depth + 1) for branch in schema[key])
    kinds = schema.get("type", _kind_by_keywords(schema))
    return _shorter(
        _of_kind(kind, schema, root, depth)
        for kind in ([kinds] if isinstance(kinds, str) else kinds)
    )


def _kind_by_keywords(schema: Mapping[str, Any]) -> str:
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "integer"


def _of_kind(kind: str, schema: Mapping[str, Any], root: Any, depth: int) -> str | None:
    if kind == "object":
        return _shortest_object(schema, root, depth)
    if kind == "array":
        return _shortest_array(schema, root, depth)
    if kind == "string":
        if "pattern" in schema:
            found = sample(schema["pattern"])
            return _UNKNOWN_TEXT if found is None else json.dumps(found, ensure_ascii=False)
        if "format" in schema:
            return _UNKNOWN_TEXT
        return json.dumps("x" * min(schema.get("minLength", 0), 1024))
    if kind in ("integer", "number"):
        bounds = [schema[key] for key in ("minimum", "maximum") if key in schema]
        return max((str(bound) for bound in bounds), key=len, default="0")
    return _SAMPLES.get(kind, "0")


def _shortest_object(schema: Mapping[str, Any], root: Any, depth: int) -> str | None:
    properties = schema.get("properties", {})
    members = []
    for key in schema.get("required", ()):
        value = _shortest(properties.get(key), root, depth + 1)
        if value is None:
            return None
        members.append(json.dumps(key, ensure_ascii=False) + ":" + value)
    missing = min(schema.get("minProperties", 0), 64) - len(members)
    members += ['"x":0'] * max(0, missing)
    return "{" + ",".join(members) + "}"


def _shortest_array(schema: Mapping[str, Any], root: Any, depth: int) -> str | None:
    num_items = min(schema.get("minItems", 0), 256)
    if not num_items:
        return "[]"
    item = _shortest(schema.get("items"), root, depth + 1)
    return None if item is None else "[" + ",".join([item] * num_items) + "]"


def _shorter(texts: Iterator[str | None]) -> str | None:
    return min((text for text in texts if text is not None), key=len, default=None)


def _resolve(reference: Any, root: Any) -> Any:
    """Return what a local reference names, None where nothing is found."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    node = root
    for part in reference[1:].split("/")[1:]:
        node = node.get(part) if isinstance(node, Mapping) else None
    return node
