"""Shapes of tools' schemas: each keyword of JSON Schema as clients' tools use it, by name."""

from collections.abc import Mapping
from typing import Any, Final

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_WHOLE: Final[Schema] = {"type": "integer"}
_DRAFT_4: Final = "http://json-schema.org/draft-04/schema#"
_DRAFT_7: Final = "http://json-schema.org/draft-07/schema#"


def _closed(required: str = "", /, **properties: Any) -> Schema:
    """Return a schema of an object with these properties only; required: names, or all."""
    names = required.split() or [*properties]
    return {
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": False,
    }


def _open(**properties: Any) -> Schema:
    return {"type": "object", "properties": properties}


def _text(**keywords: Any) -> Schema:
    return {"type": "string", **keywords}


def _list(items: Any, **keywords: Any) -> Schema:
    return {"type": "array", "items": items, **keywords}


_BASICS: Final[Mapping[str, Schema]] = {
    "no parameters": {},
    "any value": _closed(value={}),
    "every type": _closed(
        text=_TEXT,
        whole=_WHOLE,
        number={"type": "number"},
        flag={"type": "boolean"},
        none={"type": "null"},
        some=_list(_WHOLE),
    ),
    "list of types": _closed(value={"type": ["string", "integer", "null"]}),
    "enum of strings": _closed(mode=_text(enum=["read", "write", "append"])),
    "enum of all kinds": _closed(value={"enum": [1, "two", None, True, [3], {"four": 4}]}),
    "enum beside type": _closed(value={"enum": [1, "two", 3.5, None], "type": "string"}),
    "const": _closed(version={"const": 2}, text={"const": 'a "quoted" é\n/'}),
    "const object": _closed(value={"const": {"a": [1, 2], "b": {"c": None}}}),
    "description, default, title": _closed(
        path=_text(description="Where", title="Path", default="/", examples=["/tmp"])
    ),
}

_STRINGS: Final[Mapping[str, Schema]] = {
    "minLength and maxLength": _closed(name=_text(minLength=3, maxLength=8)),
    "minLength 60": _closed(text=_text(minLength=60, maxLength=90)),
    "maxLength 5000": _closed(text=_text(maxLength=5000)),
    "pattern, anchored": _closed(id=_text(pattern="^[a-z]{2,5}-[0-9]+$")),
    "pattern, unanchored": _closed(path=_text(pattern=r"\.py")),
    r"pattern \S": _closed(text=_text(pattern=r"\S")),
    "pattern and length": _closed(slug=_text(pattern="^[a-z]+$", minLength=2, maxLength=12)),
    "pattern of branches": _closed(size=_text(pattern="^(small|large)$|^x{1,3}l$")),
    "pattern, ends open": _closed(path=_text(pattern="^/"), file=_text(pattern=r"\.(c|h)$")),
    "pattern with escapes": _closed(regex=_text(pattern=r'^["\\/]{1,4}$')),
    "dates and times": _closed(
        date=_text(format="date"), time=_text(format="time"), at=_text(format="date-time")
    ),
    "addresses": _closed(
        ipv4=_text(format="ipv4"), ipv6=_text(format="ipv6"), host=_text(format="hostname")
    ),
    "mail, uri, uuid": _closed(
        mail=_text(format="email"), uri=_text(format="uri"), uuid=_text(format="uuid")
    ),
    "unknown format": _closed(text=_text(format="x-of-our-own")),
}

_NUMBERS: Final[Mapping[str, Schema]] = {
    "integer range": _closed(line={"type": "integer", "minimum": 1, "maximum": 250}),
    "number range": _closed(share={"type": "number", "minimum": -0.5, "maximum": 1.5}),
    "exclusive bounds": _closed(
        a={"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10},
        b={"type": "number", "exclusiveMinimum": 0},
    ),
    "bound of a fraction": _closed(n={"type": "integer", "minimum": 1.5, "maximum": 9.5}),
    "bounds over 64 bit": _closed(n={"type": "integer", "minimum": 0, "maximum": 10**24}),
    "integer multipleOf": _closed(n={"type": "integer", "multipleOf": 5, "maximum": 100}),
    "number multipleOf": _closed(x={"type": "number", "multipleOf": 0.5}),
    "boolean exclusive bounds": {
        "$schema": _DRAFT_4,
        **_closed(
            n={"type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 9},
        ),
    },
}

_ARRAYS: Final[Mapping[str, Schema]] = {
    "minItems and maxItems": _closed(ids=_list(_WHOLE, minItems=2, maxItems=4)),
    "array of objects": _closed(edits=_list(_closed(old=_TEXT, new=_TEXT), minItems=1)),
    "uniqueItems of an enum": _closed(
        days=_list({"enum": ["mon", "tue", "wed"]}, uniqueItems=True, minItems=2)
    ),
    "prefixItems": _closed(
        pair={"type": "array", "prefixItems": [_TEXT, _WHOLE], "minItems": 2, "items": False}
    ),
    "items as a list": {
        "$schema": _DRAFT_7,
        **_closed(
            pair={
                "type": "array",
                "items": [_TEXT, _WHOLE],
                "additionalItems": False,
                "minItems": 1,
            },
        ),
    },
    "lists within lists": _closed(grid=_list(_list({"type": "number"}, maxItems=3), maxItems=3)),
}

_OBJECTS: Final[Mapping[str, Schema]] = {
    "open object": _open(name=_TEXT, limit=_WHOLE),
    "optional properties": _closed("path", path=_TEXT, limit=_WHOLE, flag={"type": "boolean"}),
    "twelve keys, four required": _closed(
        "a d g j", **{key: {"type": "integer", "maximum": 99} for key in "abcdefghijkl"}
    ),
    "additionalProperties of a type": {
        "type": "object",
        "properties": {"name": _TEXT},
        "required": ["name"],
        "additionalProperties": _WHOLE,
    },
    "patternProperties": {
        "type": "object",
        "patternProperties": {"^x-": _WHOLE},
        "additionalProperties": False,
    },
    "propertyNames": {"type": "object", "propertyNames": {"pattern": "^[a-z]{1,9}$"}},
    "minProperties": {
        "type": "object",
        "additionalProperties": {"type": "boolean"},
        "minProperties": 2,
        "maxProperties": 4,
    },
    "required but undeclared": {"type": "object", "properties": {"a": _WHOLE}, "required": ["b"]},
    "odd names of keys": _closed(**{"a b": _WHOLE, 'quo"te': _WHOLE, "é/\\": _WHOLE, "": _WHOLE}),
    "a property that is false": {"type": "object", "properties": {"a": False, "b": _WHOLE}},
    "nested five deep": _closed(a=_closed(b=_closed(c=_closed(d=_closed(e=_TEXT))))),
    "dependentRequired": {
        **_closed("a", a={"type": "boolean"}, b=_WHOLE, c=_WHOLE),
        "dependentRequired": {"b": ["c"]},
    },
}

_BRANCHES: Final[Mapping[str, Schema]] = {
    "anyOf": _closed(value={"anyOf": [_TEXT, _WHOLE, {"type": "null"}]}),
    "anyOf beside properties": {
        **_open(a=_WHOLE, b=_TEXT),
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    },
    "oneOf by a const": _closed(
        act={
            "oneOf": [
                _closed(kind={"const": "move"}, to=_WHOLE),
                _closed(kind={"const": "say"}, text=_TEXT),
            ]
        }
    ),
    "allOf of two": _closed(
        value={"allOf": [_open(a=_WHOLE) | {"required": ["a"]}, {"required": ["b"]}]}
    ),
    "allOf beside properties": {
        **_open(a=_WHOLE),
        "required": ["a"],
        "allOf": [{"properties": {"a": {"minimum": 3, "maximum": 8}}}],
    },
    "if, then, else": {
        **_closed("mode", mode={"enum": ["line", "all"]}, line=_WHOLE),
        "if": {"properties": {"mode": {"const": "line"}}},
        "then": {"required": ["line"]},
    },
    "not an enum": _closed(word={"enum": ["a", "b", "c"], "not": {"enum": ["b"]}}),
    "$ref and $defs": {
        **_closed(start={"$ref": "#/$defs/point"}, end={"$ref": "#/$defs/point"}),
        "$defs": {"point": _closed(x=_WHOLE, y=_WHOLE)},
    },
    "definitions, escaped $ref": {
        "$schema": _DRAFT_7,
        **_closed(value={"$ref": "#/definitions/a~1b%20c"}),
        "definitions": {"a/b c": _text(maxLength=9)},
    },
    "$ref with siblings": {
        **_closed(value={"$ref": "#/$defs/whole", "maximum": 20}),
        "$defs": {"whole": {"type": "integer", "minimum": 10}},
    },
    "recursive $ref": {
        **_closed(tree={"$ref": "#/$defs/node"}),
        "$defs": {"node": _closed("value", value=_WHOLE, next={"$ref": "#/$defs/node"})},
    },
    "$anchor": {
        **_closed(value={"$ref": "#word"}),
        "$defs": {"word": {"$anchor": "word", **_text(pattern="^[a-z]{1,9}$")}},
    },
}

_LOOSE: Final[Mapping[str, Schema]] = {
    "contains": _closed(ids=_list(_WHOLE, contains={"const": 7}, maxItems=4)),
    "uniqueItems of any text": _closed(words=_list(_text(maxLength=6), uniqueItems=True)),
    "pattern with lookahead": _closed(name=_text(pattern=r"^(?!-)[a-z-]{1,9}$")),
    "overlapping oneOf": _closed(
        n={"oneOf": [{"type": "integer", "maximum": 9}, {"type": "integer", "minimum": 5}]}
    ),
    "unevaluatedProperties": {
        "type": "object",
        "allOf": [_open(a=_WHOLE), _open(b=_WHOLE)],
        "unevaluatedProperties": False,
    },
}

SHAPES: Final[Mapping[str, Schema]] = {
    **_BASICS,
    **_STRINGS,
    **_NUMBERS,
    **_ARRAYS,
    **_OBJECTS,
    **_BRANCHES,
    **_LOOSE,
}
"""Schemas of tools' parameters by what they are about."""
