"""Schemas of every shape as grammars: what passes, what doesn't, what is relaxed."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from sglang_kimi.parsers.grammars.json_schema import (
    SchemaError,
    arguments_schema,
    write_grammar,
)

from .judge import Judge, is_valid

STRING = {"type": "string"}
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"v": STRING, "next": {"$ref": "#/$defs/node"}},
            "required": ["v"],
        }
    },
    "$ref": "#/$defs/node",
}
CASES: list[tuple[str, Any, list[Any], list[Any]]] = [
    (
        "a bound of draft 4 is exclusive by a flag",
        {"type": "integer", "minimum": 3, "exclusiveMinimum": True},
        [4],
        [3],
    ),
    (
        "a list of items is a prefix in draft 4",
        {"items": [{"type": "integer"}], "additionalItems": False},
        [[], [1]],
        [["a"], [1, 2]],
    ),
    (
        "a property of draft 3 says itself that it is required",
        {"properties": {"a": {"type": "string", "required": True}}},
        [{"a": ""}, 1],
        [{}],
    ),
    ("type any is any", {"type": "any"}, [1, None, {"a": []}], []),
    ("nullable takes null", {"type": "string", "nullable": True}, [None, "a"], [1]),
    (
        "dependencies of draft 7",
        {"type": "object", "dependencies": {"a": ["b"], "c": {"required": ["d"]}}},
        [{}, {"b": 1}, {"a": 1, "b": 1}, {"d": 1, "c": 1}],
        [{"a": 1}, {"c": 1}],
    ),
    (
        "anchors and ids name schemas",
        {
            "$id": "https://x.y/root",
            "$defs": {
                "n": {"$anchor": "num", "type": "integer"},
                "s": {"$id": "other", "type": "string"},
            },
            "properties": {"a": {"$ref": "#num"}, "b": {"$ref": "other"}},
        },
        [{"a": 1, "b": "x"}],
        [{"a": "x"}, {"b": 1}],
    ),
    (
        "a slash and a tilde in a reference",
        {"$defs": {"a/b~c": {"const": 1}}, "$ref": "#/$defs/a~1b~0c"},
        [1],
        [2],
    ),
    ("recursion", TREE, [{"v": ""}, {"next": {"v": "x", "next": {"v": ""}}, "v": "y"}], [{}]),
    (
        "siblings of a reference hold",
        {"$defs": {"s": STRING}, "properties": {"a": {"$ref": "#/$defs/s", "minLength": 2}}},
        [{"a": "xy"}],
        [{"a": "x"}, {"a": 12}],
    ),
    (
        "oneOf by its discriminating constant",
        {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {"kind": {"const": kind}, "x": {"type": x}},
                    "required": ["kind", "x"],
                }
                for kind, x in (("a", "integer"), ("b", "string"))
            ]
        },
        [{"x": 1, "kind": "a"}, {"kind": "b", "x": ""}],
        [{"kind": "a", "x": ""}, {"kind": "c", "x": 1}],
    ),
    (
        "oneOf whose branches overlap takes what one of them takes",
        {"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object"},
        [{"a": 1}, {"b": 1, "c": 2}],
        [{}, {"a": 1, "b": 1}],
    ),
    ("a whole number isn't any number once", {"oneOf": [{"type": "integer"}, {"type": "number"}]},
     [0.5], [1, 2.0, "a"]),
    (
        "if, then, else",
        {
            "type": "object",
            "properties": {"k": {"enum": ["a", "b"]}},
            "required": ["k"],
            "if": {"properties": {"k": {"const": "a"}}},
            "then": {"required": ["x"]},
            "else": {"required": ["y"]},
        },
        [{"k": "a", "x": 1}, {"y": 1, "k": "b"}],
        [{"k": "a", "y": 1}, {"k": "b", "x": 1}],
    ),
    (
        "constants in any spelling and order",
        {"enum": [{"b": [1, "é"], "a": None}, 1.5, True]},
        [{"a": None, "b": [1.0, "é"]}, 1.5, True],
        [1, {"b": [1, "é"]}],
    ),
    ("an enum keeps to the type beside it", {"enum": ["1", 1, None], "type": "string"}, ["1"],
     [1, None]),
    ("distinct items", {"items": {"enum": [1, "a", None]}, "uniqueItems": True, "minItems": 2},
     [[1, "a"], [None, 1, "a"]], [[1], [1, 1.0], ["a", 1, "a"]]),
    ("contained items", {"type": "array", "contains": {"const": "x"}}, [["x"], [1, "x", 2]],
     [[], [1]]),
    ("contained items and a length", {"type": "array", "contains": {"const": "x"},
      "minContains": 2, "minItems": 3, "maxItems": 4}, [["x", 1, "x"], [1, 2, "x", "x"], ["x"] * 3],
     [["x", "x"], [1, 2, "x"], [1, "x", 2, "x", 3]]),
    ("contained items and a least length", {"type": "array", "contains": {"const": "x"},
      "minItems": 2}, [["x", 1], [1, 2, 3, "x"], ["x"] * 9], [["x"], [1, 2, 3]]),
    ("counts of keys", {"properties": {"a": {}}, "required": ["a"], "maxProperties": 2},
     [{"a": 1}, {"b": 1, "a": 1}], [{"a": 1, "b": 1, "c": 1}, {"b": 1}]),
    ("an impossible property never comes", {"properties": {"a": False}, "type": "object"},
     [{}, {"b": 1}], [{"a": 1}]),
    ("unevaluated keys without compositions are additional ones",
     {"properties": {"a": {}}, "unevaluatedProperties": False}, [{"a": 1}], [{"b": 1}]),
    ("not only strings, but no number", {"type": "array", "not": {
        "anyOf": [{"items": {"type": "string"}}, {"contains": {"type": "number"}}]}},
     [[None], ["a", True]], [[], ["a"], [None, 1]]),
    ("unevaluated keys are those of no part",
     {"$defs": {"o": {"properties": {"a": {}}}}, "allOf": [{"$ref": "#/$defs/o"}],
      "properties": {"b": {}}, "unevaluatedProperties": False}, [{"a": 1, "b": 1}], [{"c": 1}]),
    ("unevaluated items are those behind every prefix",
     {"allOf": [{"prefixItems": [{}, {}]}], "prefixItems": [{}], "unevaluatedItems": False},
     [[1, 2]], [[1, 2, 3]]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "good", "bad"), [case[1:] for case in CASES],
                         ids=[case[0] for case in CASES])  # fmt: skip
def test_a_schema_takes_exactly_what_it_means(schema: Any, good: list[Any], bad: list[Any]) -> None:
    judge = Judge(schema)
    assert judge.grammar.relaxed == ()
    for value in good:
        assert judge.takes(value), value
        assert judge.takes(value, indent=4, ascii_only=True), value
    for value in bad:
        assert not judge.takes(value), value


def test_keys_come_in_any_order_and_spelling_but_each_declared_one_once() -> None:
    judge = Judge({"properties": {"aé": {}, "b/": {}}, "required": ["aé"]})
    assert judge.takes_text('{"b\\/":1,"z":2,"\\u0061\\u00E9":3}')
    assert not judge.takes_text('{"aé":1,"\\u0061é":2}')
    assert not judge.takes_text('{"b/":1}')


def test_an_excluded_number_passes_in_no_spelling() -> None:
    judge = Judge({"type": "number", "not": {"enum": [0, 1, 1.5]}})
    assert not any(map(judge.takes_text, ("0", "-0e5", "1", "10e-1", "1.0", "1e0", "15e-1")))
    assert all(map(judge.takes_text, ("2", "1.55", "-1", "0.25", "1e3")))
    judge = Judge({"type": "number", "not": {"type": "integer"}})
    assert not any(map(judge.takes_text, ("0E593", "10e-1", "1e300", "2.0")))
    assert all(map(judge.takes_text, ("0.5", "1e-05", "-2.5e-07", "10.25")))


def test_blanks_between_elements_are_bounded() -> None:
    judge = Judge({"type": "array"})
    assert judge.takes_text("[" + " " * 160 + "1\n]")
    assert not judge.takes_text("[" + " " * 161 + "1]")


@pytest.mark.parametrize("num_required", [0, 59, 100])
def test_objects_with_more_keys_than_bits_hold_what_is_required(num_required: int) -> None:
    names = [f"key{i}" for i in range(130)]
    schema = {"properties": dict.fromkeys(names, STRING), "required": names[:num_required]}
    judge = Judge({**schema, "type": "object", "additionalProperties": False})
    whole = dict.fromkeys(names, "")
    assert judge.takes(whole)
    assert not judge.takes({**whole, "other": ""})
    for name in names[:num_required:20]:
        assert not judge.takes({key: "" for key in names if key != name})


def test_free_objects_and_lists_of_thousands_of_elements_pass() -> None:
    judge = Judge({"type": "object", "properties": {"last": STRING}, "required": ["last"]})
    many = {f"k{i}": [i] for i in range(5000)}
    assert judge.takes({**many, "last": "x"})
    assert Judge({"type": "array", "maxItems": 90_000}).takes(list(range(5000)))


def test_what_is_endless_has_no_short_instance_and_can_still_be_written() -> None:
    grammar = write_grammar(
        {"$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}},
                         "required": ["a"]}}, "$ref": "#/$defs/a"}, "x")  # fmt: skip
    assert grammar.shortest is None


def test_an_optional_property_that_is_endless_is_dropped() -> None:
    endless = {"type": "object", "properties": {"x": {"$ref": "#/$defs/e"}}, "required": ["x"]}
    judge = Judge({"$defs": {"e": endless}, "properties": {"e": {"$ref": "#/$defs/e"}}})
    assert judge.grammar.shortest is not None
    assert not judge.takes({"e": {}})


@pytest.mark.parametrize(
    ("schema", "relaxed"),
    [
        ({"properties": {"a": {"$ref": "https://x.y/z"}}}, ("/properties/a", "$ref")),
        ({"type": "array", "uniqueItems": True}, ("", "uniqueItems")),
        ({"type": "string", "format": "colour"}, ("", "format")),
        ({"type": "object", "minProperties": 2}, ("", "minProperties")),
        ({"not": {"uniqueItems": True}}, ("", "not")),
        ({"anyOf": [{}, {"properties": {"a": {}}}], "unevaluatedProperties": False},
         ("", "unevaluatedProperties")),
        ({"type": "array", "contains": {"const": 1}, "maxContains": 1}, ("", "contains")),
    ],
)  # fmt: skip
def test_what_cannot_be_held_is_named(schema: Any, relaxed: tuple[str, str]) -> None:
    assert relaxed in write_grammar(schema, "x").relaxed


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"properties": {"a/b": {"type": "strnig"}}}, "/properties/a~1b/type"),
        ({"properties": []}, "/properties"),
        ({"items": {"$ref": "#/$defs/missing"}}, "/items/$ref"),
        ({"items": {"$ref": "#missing"}}, "/items/$ref"),
        ({"$ref": "#/parts/x", "parts": {"x": {"type": "strnig"}}}, "/parts/x/type"),
        ({"$ref": "#/parts/x", "parts": {"x": 1}}, "/$ref"),
        ({"anyOf": []}, "/anyOf"),
        ({"if": 3}, "/if"),
        ({"dependentSchemas": {"a": 1}}, "/dependentSchemas/a"),
        ({"dependentRequired": {"a": [1]}}, "/dependentRequired/a"),
        ({"exclusiveMinimum": "1"}, "/exclusiveMinimum"),
        ({"minContains": -1}, "/minContains"),
        ({"required": ["a", 1]}, "/required"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, ""),
        ({"minimum": float("inf")}, "/minimum"),
        (False, ""),
    ],
)
def test_a_broken_schema_is_refused_with_its_path(schema: Any, path: str) -> None:
    with pytest.raises(SchemaError, match="tool 'edit'") as caught:
        write_grammar(schema, "edit")
    assert caught.value.path == path


def test_arguments_are_an_object_whatever_is_declared() -> None:
    assert Judge(arguments_schema(None, "now")).takes({})
    assert not Judge(arguments_schema(None, "now")).takes({"a": 1})
    assert not Judge(arguments_schema({"type": ["object", "null"]}, "x")).takes(None)
    assert not Judge(arguments_schema(True, "x")).takes([])
    with pytest.raises(SchemaError, match="/type"):
        arguments_schema({"type": "string"}, "edit")


def test_what_json_cannot_carry_is_left_out_of_constants_and_keys() -> None:
    judge = Judge({"enum": [float("nan"), "\ud800", 1]})
    assert judge.takes(1)
    assert not judge.takes_text('"\\ud800"')
    judge = Judge({"type": "object", "properties": {"\udfff": {}, "a": {}}})
    assert judge.takes({"a": 1})
    with pytest.raises(SchemaError, match="no value"):
        write_grammar({"type": "object", "required": ["\udfff"]}, "x")


def test_references_that_go_too_deep_are_an_error_of_the_schema() -> None:
    defs = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(3000)}
    with pytest.raises(SchemaError, match="too deeply"):
        write_grammar({"$defs": {**defs, "d3000": {}}, "$ref": "#/$defs/d0"}, "x")


def test_choices_times_choices_stay_bounded() -> None:
    choice = [{"properties": {f"k{i}": STRING}, "required": [f"k{i}"]} for i in range(6)]
    grammar = write_grammar({"allOf": [{"anyOf": choice}] + [{"oneOf": choice}] * 8}, "x")
    assert len(grammar.text) < 1_000_000
    assert grammar.relaxed


def test_nesting_as_deep_as_a_schema_may_go_is_written() -> None:
    schema: dict[str, Any] = {}
    for _ in range(128):
        schema = {"properties": {"a": schema}, "required": ["a"], "type": "object"}
    assert write_grammar(schema, "x").shortest == '{"a":' * 128 + "0" + "}" * 128


def test_equal_subschemas_share_their_rules() -> None:
    point = {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}}
    parts = {f"p{i}": {**point, "description": f"point {i}"} for i in range(30)}
    text = write_grammar({"type": "object", "properties": parts}, "x").text
    assert text.count("\n") < 60


def test_hints_finish_patterns_constants_and_keys() -> None:
    grammar = write_grammar(
        {"properties": {"key": {"type": "string", "pattern": "^x-[0-9]$"}, "b": {"const": "é"}}},
        "x",
    )
    assert {'"key"', '"é"', '"x-0"'} <= set(grammar.hints)


@pytest.mark.parametrize("num_walks", [1])
def test_every_public_schema_is_written_and_its_random_outputs_are_valid(
    shared: Path, num_walks: int
) -> None:
    rng, num_valid = random.Random(1), 0
    lines = [line for path in sorted((shared / "walle").glob("*.jsonl")) for line in path.open()]
    assert len(lines) > 200
    for line in lines:
        schema = json.loads(line)
        judge = Judge(schema)
        for text in (judge.walk(rng) for _ in range(num_walks)):
            if text is not None and not judge.grammar.relaxed:
                assert is_valid(schema, json.loads(text)), (text, line)
                num_valid += 1
    assert num_valid > len(lines) * num_walks * 0.8


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
        {"$schema": "http://json-schema.org/draft-04/schema#", "type": "integer"},
    ],
)
def test_integers_of_draft_4_have_no_fraction(schema):
    judge = Judge(schema)
    assert judge.takes_text("7")
    assert not judge.takes_text("7.0")
