"""Grammars of schemas of every kind against jsonschema: what is written, what must pass."""

import copy
import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st

from sglang_kimi.parsers.grammars.json_schema import SchemaError, SchemaGrammar, write_grammar

PIECES = (
    *('","', '": "', '":"', '{"', '"}', '": ', "  ", "\n    ", "123", "the", "true", "false"),
    *("null", "},{", "[[", "}}", ":0", ' "', "é", "日本", "\\n", "\\u", "ud83d", "d8", "1e", "e+"),
    *("name", "kind", "ab", "foo", "], [", "0.5", "2024-", ".0", '"a"', '"b":', "00"),
)
CLOSERS = [*'"}],:0123456789', "null", "true", "false", *"tfn{[ -.abcdefghijklmnopqrstuvwxyz"]
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


class Tokens:
    """All bytes and some pieces that cross the borders of JSON's elements, in llguidance's form."""

    tokens = (*(bytes([byte]) for byte in range(256)), *(p.encode() for p in PIECES), b"\xff[end]")
    eos_token_id = len(tokens) - 1
    bos_token_id = None
    special_token_ids = (eos_token_id,)

    def __call__(self, data: bytes | str) -> list[int]:
        return list(data.encode() if isinstance(data, str) else data)


@cache
def vocabulary() -> Any:
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(Tokens()), slices=[])


class Walker:
    """A grammar over the small vocabulary."""

    def __init__(self, text: str) -> None:
        from llguidance import LLMatcher

        self._matcher = LLMatcher(vocabulary(), LLMatcher.grammar_from_lark(text), log_level=0)
        assert not self._matcher.is_error(), f"{self._matcher.get_error()}\n{text}"
        self._ids = {token: token_id for token_id, token in enumerate(Tokens.tokens)}

    def accepts(self, text: str) -> bool:
        matcher = self._matcher.deep_copy()
        data = list(text.encode())
        taken = matcher.try_consume_tokens(data)
        assert not matcher.is_error(), matcher.get_error()
        return bool(taken == len(data) and matcher.is_accepting())

    def walk(self, rng: random.Random, num_free: int, num_tokens: int) -> str | None:
        """Choose uniformly over the mask for num_free tokens, then go for the end.

        Returns None if it takes more than num_tokens.
        """
        matcher = self._matcher.deep_copy()
        data = b""
        for count in range(num_tokens):
            bias = matcher.compute_logit_bias()
            assert not matcher.is_error(), matcher.get_error()
            allowed = [token_id for token_id in range(Tokens.eos_token_id) if bias[token_id]]
            if matcher.is_accepting() and (not allowed or count >= num_free or rng.random() < 0.2):
                return data.decode()
            assert allowed, f"nothing may follow {data!r}"
            chosen = rng.choice(allowed)
            if count >= num_free and rng.random() < 0.9:
                closers = (self._ids[closer.encode()] for closer in CLOSERS)
                chosen = next((closer for closer in closers if bias[closer]), chosen)
            data += Tokens.tokens[chosen]
            assert matcher.consume_token(chosen), matcher.get_error()
        return None


class Number(str):
    """A number's text, kept as it was spelled."""


def read(text: str) -> Any:
    return json.loads(text, parse_int=Number, parse_float=Number)


def spell_string(rng: random.Random, text: str) -> str:
    """Return a spelling of a string, some characters escaped without need."""
    found = []
    for char in text:
        plain = json.dumps(char, ensure_ascii=False)[1:-1]
        escaped = "".join(
            f"\\u{unit:04x}" for unit in memoryview(char.encode("utf-16-le")).cast("H")
        )
        found.append(
            rng.choice(
                [plain, plain, json.dumps(char)[1:-1], escaped, escaped.upper().replace("U", "u")]
            )
        )
    return f'"{"".join(found)}"'


def spell(rng: random.Random, value: Any, indent: str | None, depth: int = 0) -> str:
    """Return a value as JSON, keys in any order, compact or indented."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return spell_string(rng, value)
    if not isinstance(value, dict | list) or not value:
        return json.dumps(value)
    blank = "" if indent is None else "\n" + indent * (depth + 1)
    end = "" if indent is None else "\n" + indent * depth
    if isinstance(value, list):
        parts = [spell(rng, item, indent, depth + 1) for item in value]
        return f"[{','.join(blank + part for part in parts)}{end}]"
    colon = ":" if indent is None else rng.choice([": ", " : ", ":"])
    items = list(value.items())
    rng.shuffle(items)
    parts = [f"{spell_string(rng, k)}{colon}{spell(rng, v, indent, depth + 1)}" for k, v in items]
    return f"{{{','.join(blank + part for part in parts)}{end}}}"


def places(value: Any) -> list[Any]:
    """Return every container within a value."""
    inner = (
        list(value.values())
        if isinstance(value, dict)
        else value
        if isinstance(value, list)
        else []
    )
    return ([value] if isinstance(value, dict | list) else []) + [
        p for v in inner for p in places(v)
    ]


def changed(rng: random.Random, value: Any) -> Any:
    """Return a value with one small change somewhere."""
    value = copy.deepcopy(value)
    containers = places(value)
    if not containers:
        return rng.choice(VALUES)
    place = rng.choice(containers)
    if isinstance(place, list):
        action = rng.choice(["add", "remove", "change"])
        if action == "add" or not place:
            place.insert(rng.randint(0, len(place)), rng.choice([*VALUES, *place]))
        elif action == "remove":
            place.pop(rng.randrange(len(place)))
        else:
            place[rng.randrange(len(place))] = rng.choice(VALUES)
    elif place and rng.random() < 0.5:
        del place[rng.choice(list(place))]
    else:
        place[rng.choice([*NAMES, *place, "next", "other", "x9"])] = rng.choice(VALUES)
    return value


def validator_of(schema: Any) -> jsonschema.Draft202012Validator:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return jsonschema.Draft202012Validator(schema, format_checker=checker)


def grammar_of(schema: Any) -> SchemaGrammar:
    """Return the grammar of a schema, or give up one that truly has no instance."""
    try:
        return write_grammar(schema, "tool")
    except SchemaError:
        assert not any(map(validator_of(schema).is_valid, VALUES))
        assume(False)
        raise


def has_format(schema: Any) -> bool:
    return '"format"' in json.dumps(schema)


def is_printable(text: str) -> bool:
    """Return whether a text is UTF-8, which lone surrogates aren't."""
    return not any(0xD800 <= ord(char) < 0xE000 for char in text)


@settings(max_examples=150, deadline=None)
@given(schemas(), st.integers(0, 2**32))
def test_what_is_written_at_random_is_valid_unless_a_keyword_is_named_as_relaxed(
    schema: Any, seed: int
) -> None:
    grammar = grammar_of(schema)
    assume(grammar.shortest is not None)
    rng = random.Random(seed)
    text = Walker(grammar.text).walk(rng, num_free=60, num_tokens=1500)
    assume(text is not None)
    note(f"wrote {text}")
    assert text is not None
    value = json.loads(text)
    json.dumps(value, ensure_ascii=False).encode()
    assert grammar.relaxed or validator_of(schema).is_valid(value)


@settings(max_examples=150, deadline=None)
@given(schemas())
def test_the_shortest_instance_is_valid_and_passes(schema: Any) -> None:
    grammar = grammar_of(schema)
    if grammar.shortest is not None:
        assert grammar.relaxed or validator_of(schema).is_valid(json.loads(grammar.shortest))
        assert Walker(grammar.text).accepts(grammar.shortest)


@settings(max_examples=150, deadline=None)
@given(schemas(), st.integers(0, 2**32))
def test_a_value_passes_in_every_spelling_exactly_if_it_is_valid(schema: Any, seed: int) -> None:
    grammar = grammar_of(schema)
    assume(grammar.shortest is not None)
    rng = random.Random(seed)
    walker = Walker(grammar.text)
    text = walker.walk(rng, num_free=40, num_tokens=800) or grammar.shortest
    assert text is not None
    value = read(text)
    for _ in range(8):
        respelled = spell(rng, value, rng.choice([None, "  ", "    "]))
        note(f"from {text} to {respelled}")
        is_valid = validator_of(schema).is_valid(json.loads(respelled))
        if walker.accepts(respelled):
            assert is_valid or grammar.relaxed
        else:
            assert not is_valid or has_format(schema)
        value = changed(rng, value)


@pytest.fixture(scope="module")
def make_walker() -> Callable[[str], Walker]:
    return Walker
