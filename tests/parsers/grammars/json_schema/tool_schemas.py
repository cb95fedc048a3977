"""Random schemas as tools declare them: objects of keys, every keyword within its usual company."""

from typing import Any

from hypothesis import strategies as st

NAMES = ["a", "b", "c", "kind", "näme", "x-1", 'q"', ""]
PATTERNS = ["^[a-z]{2,4}$", "ab+c", r"^\d{3}-\d{2}$", "^(foo|bar)", "x$", "[^a-z]", "^.{0,3}$", ""]
FORMATS = ["date", "ipv4", "uuid", "date-time", "email", "uri", "no-such-format"]
SCALARS = [
    0,
    1,
    -1,
    7,
    1.5,
    -0.25,
    10**12,
    "",
    "a",
    "ab",
    "é\n",
    "foo",
    "\U0001f600",
    True,
    False,
    None,
]
VALUES = [*SCALARS, [], {}, [1, "a"], {"a": 1}, {"a": {"b": [None]}, "c": "d"}]

scalars = st.sampled_from(SCALARS)
values = st.sampled_from(VALUES)
small = st.integers(0, 4)


def some(draw: st.DrawFn, **keywords: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Draw each keyword one time in three."""
    return {name: draw(value) for name, value in keywords.items() if draw(st.integers(0, 2)) == 0}


def in_order(schema: dict[str, Any], low: str, high: str) -> dict[str, Any]:
    if low in schema and high in schema and schema[low] > schema[high]:
        schema[low], schema[high] = schema[high], schema[low]
    return schema


@st.composite
def strings(draw: st.DrawFn) -> Any:
    lengths = some(draw, minLength=small, maxLength=st.integers(0, 12))
    kind = draw(st.sampled_from(["", "", "pattern", "format"]))
    if kind:
        lengths[kind] = draw(st.sampled_from(PATTERNS if kind == "pattern" else FORMATS))
    return {"type": "string", **in_order(lengths, "minLength", "maxLength")}


@st.composite
def numbers(draw: st.DrawFn) -> Any:
    bound = st.integers(-120, 120) | st.sampled_from([0.5, -2.25, 1e6, 99.9])
    schema = {"type": draw(st.sampled_from(["integer", "number"]))}
    schema |= in_order(some(draw, minimum=bound, maximum=bound), "minimum", "maximum")
    return schema | some(draw, multipleOf=st.sampled_from([1, 2, 3, 5, 10, 0.5]))


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    schema = {"type": "array"} | some(draw, items=inner, minItems=small, maxItems=small)
    schema |= some(draw, prefixItems=st.lists(inner, min_size=1, max_size=2))
    if draw(st.integers(0, 3)) == 0:
        schema["uniqueItems"] = True
        schema["items"] = {"enum": draw(st.lists(scalars, min_size=3, max_size=4, unique_by=repr))}
        schema.pop("prefixItems", None)
        schema["minItems"] = min(schema.get("minItems", 0), 2)
    return in_order(schema, "minItems", "maxItems")


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))
    schema: dict[str, Any] = {"type": "object", "properties": {n: draw(inner) for n in names}}
    required = st.lists(st.sampled_from([*names, "a"]), max_size=3, unique=True)
    schema |= some(
        draw,
        required=required,
        additionalProperties=st.booleans() | inner,
        patternProperties=st.dictionaries(
            st.sampled_from(["^x", "[0-9]$", "a"]), inner, max_size=1
        ),
        propertyNames=st.sampled_from([{"maxLength": 5}, {"pattern": "^[a-zä]*$"}]),
    )
    if draw(st.integers(0, 3)) == 0:
        schema |= in_order(
            some(draw, minProperties=small, maxProperties=small), "minProperties", "maxProperties"
        )
    if draw(st.integers(0, 4)) == 0:
        schema["dependentRequired"] = {"a": draw(required)}
    return schema


@st.composite
def tagged(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    """Return alternatives that a constant tells apart."""
    tags = draw(
        st.lists(st.sampled_from(["one", "two", 3, None]), min_size=1, max_size=3, unique=True)
    )
    branches = [
        {
            "type": "object",
            "properties": {"kind": {"const": tag}, "a": draw(inner)},
            "required": ["kind"],
        }
        for tag in tags
    ]
    return {draw(st.sampled_from(["oneOf", "anyOf"])): branches}


@st.composite
def combined(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    keyword = draw(st.sampled_from(["anyOf", "oneOf", "allOf", "not", "if", "types", "siblings"]))
    if keyword == "types":
        kinds = ["string", "integer", "null", "boolean", "array", "object"]
        types = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3, unique=True))
        return {"type": types, "maxLength": 4, "minimum": 3}
    if keyword == "siblings":
        return {**draw(objects(inner)), "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    if keyword == "not":
        return {
            **draw(inner | strings()),
            "not": {"enum": draw(st.lists(values, min_size=1, max_size=2))},
        }
    if keyword == "if":
        condition = {"properties": {"kind": {"const": "one"}}, "required": ["kind"]}
        return {
            **draw(objects(inner)),
            "if": condition,
            **some(draw, then=st.just({"required": ["a"]}), **{"else": objects(inner)}),
        }
    if keyword == "allOf":
        return {"allOf": [draw(objects(inner)), draw(objects(inner))]}
    return {keyword: draw(st.lists(inner, min_size=1, max_size=3))}


def without_booleans(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return strategy.map(lambda schema: {} if schema is True else schema)


leaves = (
    strings()
    | numbers()
    | st.sampled_from([{"type": "boolean"}, {"type": "null"}, {}, {"$ref": "#/$defs/list"}])
    | st.builds(lambda value: {"const": value}, values)
    | st.builds(lambda found: {"enum": found}, st.lists(values, min_size=1, max_size=4))
)
subschemas = st.recursive(
    leaves,
    lambda inner: arrays(inner) | objects(inner) | tagged(inner) | combined(inner),
    max_leaves=6,
)
DEFINITIONS = {
    "list": {
        "type": "object",
        "properties": {"value": {"type": "integer"}, "next": {"$ref": "#/$defs/list"}},
        "required": ["value"],
        "additionalProperties": False,
    }
}


@st.composite
def schemas(draw: st.DrawFn) -> Any:
    return {**draw(without_booleans(subschemas)), "$defs": DEFINITIONS}
