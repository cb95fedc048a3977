"""What a grammar could not hold of a schema is looked at afterwards, in bounded time."""

import json
import time

import pytest

from sglang_kimi.chat import schema_misses
from sglang_kimi.chat.schema_misses import NotCheckedError, first_miss


def miss(schema, value, *keywords):
    text = value if isinstance(value, str) else json.dumps(value)
    found = first_miss(schema, keywords or set(schema), text)
    return None if found is None else found[0]


@pytest.mark.parametrize(
    ("schema", "good", "bad", "keyword"),
    [
        ({"uniqueItems": True}, [1, True, "1", [1], [True]], [1, 1.0], "uniqueItems"),
        ({"uniqueItems": True}, [{"a": 1}, {"a": 2}], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], None),
        ({"minProperties": 2}, {"a": 1, "b": 1}, {"a": 1}, None),
        ({"oneOf": [{"type": "integer"}, {"minimum": 5}]}, 3, 7, "oneOf"),
        ({"not": {"required": ["a"]}}, {}, {"a": 1}, "not"),
        ({"pattern": "^(?=a)a+$"}, '"aa"', '"b"', "pattern"),
        ({"patternProperties": {"^a": {"type": "string"}}}, {"b": 1}, {"ab": 1}, "type"),
        (
            {"patternProperties": {"^a": {}}, "additionalProperties": False},
            {"ab": 1},
            {"b": 1},
            "additionalProperties",
        ),
        ({"format": "ipv4"}, '"1.2.3.4"', '"1.2.3.400"', "format"),
    ],
)
def test_a_broken_keyword_is_named(schema, good, bad, keyword):
    looked_at = {*schema, "type"}
    assert miss(schema, good, *looked_at) is None
    assert miss(schema, bad, *looked_at) == (keyword or next(iter(schema)))


def test_keywords_that_the_grammar_holds_are_not_looked_at():
    schema = {"type": "array", "minItems": 5, "uniqueItems": True}
    assert miss(schema, [1, 2], "uniqueItems") is None
    assert miss(schema, [1, 1], "uniqueItems") == "uniqueItems"


def test_a_keyword_within_a_branch_is_found():
    schema = {"anyOf": [{"type": "string"}, {"type": "array", "uniqueItems": True}]}
    assert miss(schema, [1, 1], "uniqueItems") == "uniqueItems"
    assert miss(schema, [1, 2], "uniqueItems") is None


def test_the_place_of_the_value_is_named():
    schema = {"properties": {"a": {"items": {"uniqueItems": True}}}}
    found = first_miss(schema, {"uniqueItems"}, '{"a": [[], [5, 5]]}')
    assert found == ("uniqueItems", "uniqueItems at /a/1: 5 comes twice")


def test_schemas_of_older_editions_are_read():
    schema = {"items": [{"minimum": 0, "exclusiveMinimum": True}], "uniqueItems": True}
    assert miss(schema, [1, 2], "uniqueItems") is None
    assert miss(schema, [0, 0], "exclusiveMinimum") == "exclusiveMinimum"


def test_a_text_that_was_cut_is_not_looked_at():
    assert miss({"type": "array"}, "[1, ") is None


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"$ref": "http://localhost:1/x"}, "refers to another document"),
        ({"pattern": "(?<x"}, "is unknown"),
        ({"pattern": "^(a|aa)+$"}, "takes over 50 ms"),
    ],
)
def test_what_cannot_be_checked_says_why(schema, why):
    start = time.perf_counter()
    with pytest.raises(NotCheckedError, match=why):
        miss(schema, json.dumps("a" * 100 + "b"))
    assert time.perf_counter() - start < 2


def test_the_time_is_bounded(monkeypatch):
    monkeypatch.setattr(schema_misses, "MAX_SECONDS", 0.005)
    schema = {"items": {"not": {"const": -1}}}
    with pytest.raises(NotCheckedError, match="takes over 5 ms"):
        miss(schema, list(range(200_000)), "not")


def test_many_equal_looking_objects_take_linear_time():
    start = time.perf_counter()
    assert miss({"uniqueItems": True}, [{"a": [n]} for n in range(20_000)]) is None
    assert time.perf_counter() - start < 2
