"""Schemas are rewritten where xgrammar would loosen them, and refused where they are none."""

from typing import Any

import pytest

from sglang_kimi.parsers.grammars.pattern_samples import sample
from sglang_kimi.parsers.grammars.schema import SchemaError, arguments_schema, prepare_schema
from sglang_kimi.parsers.grammars.schema_patterns import DATE, IPV4, whole_pattern


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"properties": {"a/b": {"type": "strnig"}}}, "/properties/a~1b/type"),
        ({"properties": []}, "/properties"),
        ({"properties": {"a": 3}}, "/properties/a"),
        ({"items": {"$ref": "#/$defs/missing"}}, "/items/$ref"),
        ({"anyOf": []}, "/anyOf"),
        ({"allOf": [{}, {"enum": "a"}]}, "/allOf/1/enum"),
        ({"required": ["a", 1]}, "/required"),
        ({"prefixItems": [{"minLength": -1}]}, "/prefixItems/0/minLength"),
        ({"multipleOf": 0}, "/multipleOf"),
    ],
)
def test_a_broken_schema_names_tool_and_place(schema: Any, path: str) -> None:
    with pytest.raises(SchemaError, match="tool 'edit'") as caught:
        prepare_schema(schema, "edit")
    assert caught.value.path == path
    assert path in str(caught.value)


def test_arguments_that_are_no_object_are_refused() -> None:
    with pytest.raises(SchemaError, match="/type"):
        arguments_schema({"type": "string"}, "edit")


def test_a_tool_without_parameters_takes_an_empty_object_only() -> None:
    prepared = prepare_schema(arguments_schema(None, "now"), "now")
    assert prepared["additionalProperties"] is False
    assert prepared["properties"] == {}


def test_free_objects_stay_free_and_declared_keys_are_the_only_ones_unless_said() -> None:
    parts: dict[str, Any] = {
        "free": {"type": "object"},
        "pairs": {"type": "object", "properties": {"a": {}}, "minProperties": 2},
        "said": {"properties": {"a": {}}, "additionalProperties": {"type": "string"}},
        "declared": {"properties": {"a": {}}},
        "closed": {"properties": {}, "additionalProperties": False},
    }
    prepared = prepare_schema({"type": "object", "properties": parts}, "edit")
    extras = {name: part["additionalProperties"] for name, part in prepared["properties"].items()}
    assert extras == {
        "free": True,
        "pairs": True,
        "said": {"type": "string"},
        "declared": False,
        "closed": False,
    }
    assert prepared["additionalProperties"] is False


def test_keys_come_in_the_order_of_the_tool_declaration() -> None:
    schema = {
        "type": "object",
        "properties": {"z": {}, "b": {}, "a": {}, "y": {}},
        "required": ["z", "y"],
    }
    assert [*prepare_schema(schema, "edit")["properties"]] == ["y", "z", "a", "b"]


def test_required_keys_without_a_declaration_are_declared() -> None:
    schema = {"type": "object", "required": ["a"], "additionalProperties": {"type": "string"}}
    assert prepare_schema(schema, "edit")["properties"] == {"a": {"type": "string"}}


def test_all_of_becomes_one_schema() -> None:
    prepared = prepare_schema(
        {
            "$defs": {"named": {"properties": {"name": {"type": "string"}}, "required": ["name"]}},
            "allOf": [
                {"$ref": "#/$defs/named"},
                {"properties": {"name": {"minLength": 2}, "age": {"type": "integer"}}},
                {"required": ["age"]},
            ],
            "type": "object",
        },
        "edit",
    )
    assert "allOf" not in prepared
    assert prepared["properties"]["name"] == {"type": "string", "minLength": 2}
    assert sorted(prepared["required"]) == ["age", "name"]


def test_what_stands_beside_any_of_moves_into_its_branches() -> None:
    prepared = prepare_schema(
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}},
            "required": ["a"],
            "anyOf": [{"required": ["b"]}, {"properties": {"a": {"minimum": 3}}}, {"type": "null"}],
        },
        "edit",
    )
    assert [sorted(branch["required"]) for branch in prepared["anyOf"]] == [["a", "b"], ["a"]]
    assert prepared["anyOf"][1]["properties"]["a"] == {"type": "integer", "minimum": 3}


def test_parts_that_exclude_each_other_are_reported() -> None:
    with pytest.raises(SchemaError, match="'string' and 'integer'"):
        prepare_schema({"allOf": [{"type": "string"}, {"type": "integer"}]}, "edit")


def test_a_schema_that_contains_itself_is_rewritten_once() -> None:
    schema = {
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
        "$ref": "#/$defs/node",
    }
    prepared = prepare_schema(arguments_schema(schema, "edit"), "edit")
    assert prepared["properties"]["next"] == {"$ref": "#/$defs/node"}


@pytest.mark.parametrize(
    ("enum", "kinds", "left"),
    [(["a", 1, None], "string", ["a"]), (["a", 1, 1.5, True], ["integer", "null"], [1])],
)
def test_an_enum_keeps_the_values_of_its_type(enum: list[Any], kinds: Any, left: Any) -> None:
    assert prepare_schema({"enum": enum, "type": kinds}, "edit") == {"enum": left}


def test_draft_4_forms_become_modern() -> None:
    schema = {"type": "number", "minimum": 1, "exclusiveMinimum": True, "maximum": 2}
    assert prepare_schema(schema, "edit") == {"type": "number", "exclusiveMinimum": 1, "maximum": 2}
    assert "prefixItems" in prepare_schema({"items": [{"type": "string"}]}, "edit")


def test_few_distinct_items_are_written_out() -> None:
    schema = {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True, "minItems": 1}
    arrays = [
        [item["const"] for item in branch["prefixItems"]]
        for branch in prepare_schema(schema, "edit")["anyOf"]
    ]
    assert sorted(arrays) == [["a"], ["a", "b"], ["b"], ["b", "a"]]


def test_the_input_is_left_as_it_was() -> None:
    schema = {"type": "object", "allOf": [{"required": ["a"]}], "properties": {"b": {"enum": []}}}
    before = repr(schema)
    prepare_schema(schema, "edit")
    assert repr(schema) == before


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("b+", ["b", "abba"], ["", "a"]),
        ("^a", ["a", "ab"], ["ba"]),
        ("a$", ["a", "ba"], ["ab"]),
        ("^a|b$", ["ax", "xb"], ["xa", "bx"]),
        ("^(a|b)$", ["a", "b"], ["ab", "ax"]),
        (r"^a\$", ["a$", "a$b"], ["a"]),
        ("[|]", ["x|y"], ["xy"]),
    ],
)
def test_a_pattern_matches_where_json_schema_finds_it(
    pattern: str, inside: list[str], outside: list[str]
) -> None:
    import re

    whole = whole_pattern(pattern)
    assert whole is not None
    for text in inside:
        assert re.fullmatch(whole, text) and re.search(pattern, text)
    for text in outside:
        assert not re.fullmatch(whole, text) and not re.search(pattern, text)


def test_lengths_go_into_the_quantifier_of_a_repeated_class() -> None:
    assert whole_pattern("^[a-z]+$", 2, 5) == "^[a-z]{2,5}$"
    assert whole_pattern("^[a-z]*$", None, 5) == "^[a-z]{0,5}$"


@pytest.mark.parametrize("pattern", ["a\x00", "(a", r"\0"])
def test_a_pattern_that_can_not_be_written_is_dropped(pattern: str) -> None:
    assert whole_pattern(pattern) is None


def test_dates_and_addresses_are_exact() -> None:
    import re

    assert re.match(DATE, "2024-06-30") and not re.match(DATE, "2024-06-31")
    assert re.match(IPV4, "10.0.255.1") and not re.match(IPV4, "10.0.256.1")
    assert not re.match(IPV4, "093.0.0.1")


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("ab+", "ab"),
        (r"^\d{3}-[A-Z]$", "000-A"),
        ("^(foo|x)?[^a]y", "by"),
        ("a(?=b)", None),
        (r"(a)\1", None),
        ("(", None),
    ],
)
def test_a_pattern_has_a_sample_where_its_parts_are_known(pattern: str, text: str | None) -> None:
    assert sample(pattern) == text
