"""Tools' schemas are refused only where calls could not be held to them, and looked at once."""

import json

import pytest

from sglang_kimi.chat.tool_schemas import ToolSchemas

OLD_FORMS = {
    "draft 4's exclusive bound": {"minimum": 0, "exclusiveMinimum": True},
    "a tuple": {"type": "array", "items": [{"type": "string"}]},
    "a required flag": {"type": "string", "required": True},
    "an id": {"id": "x", "$id": "#y", "type": "object"},
    "an unknown format": {"type": "string", "format": "x-own"},
    "both forms at once": {"anyOf": [{"exclusiveMaximum": 5}, {"exclusiveMaximum": True}]},
}


def schemas(normalize=lambda schema: None):
    return ToolSchemas(normalize)


def refused(schema, checker=None):
    return (checker or schemas()).refusal([("tools[3].function.parameters", schema)])


@pytest.mark.parametrize("name", OLD_FORMS)
def test_a_form_of_an_older_edition_is_taken(name):
    assert refused({"type": "object", "properties": {"a": OLD_FORMS[name]}}) is None


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": 5}, "/type: got 5"),
        ({"properties": {"a": {"anyOf": [{"type": 5}]}}}, "/properties/a/anyOf/0/type: got 5"),
        ({"properties": {"a": 7}}, "/properties/a: got 7"),
        ("abc", "/: got 'abc'"),
    ],
)
def test_a_broken_schema_is_named_by_tool_and_place(schema, text):
    begin = "tools[3].function.parameters: want a JSON schema, got one that breaks: "
    assert refused(schema).startswith(begin + text)


def test_a_long_wrong_value_is_cut():
    assert len(refused({"properties": ["x" * 100] * 100})) < 500


def test_no_schema_is_no_error():
    assert refused(None) is None


def test_a_schema_that_is_nested_without_end_is_refused():
    deep = {"type": "object"}
    for _ in range(5000):
        deep = {"properties": {"a": deep}}
    assert "nested" in refused(deep)


def test_a_verdict_is_found_again_by_content_and_another_schema_gets_its_own():
    checker = schemas()
    for _ in range(2):
        assert refused({"type": "object"}, checker) is None
        assert refused({"type": 5}, checker)
    assert len(checker._verdicts) == 2


def test_type_names_of_databases_are_put_right_each_time_since_the_prompt_shows_them():
    def normalize(schema):
        if schema.get("type") == "varchar":
            schema["type"] = "string"

    checker = schemas(normalize)
    for _ in range(2):
        schema = {"type": "varchar"}
        assert refused(schema, checker) is None
        assert schema == {"type": "string"}


def test_the_schemas_of_a_large_public_collection_are_all_taken(shared):
    files = sorted((shared / "walle").glob("*.jsonl"))
    lines = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    assert len(lines) > 200
    assert [schema for schema in lines if refused(schema)] == []
