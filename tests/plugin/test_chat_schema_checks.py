"""A tool's schema is checked once, a wrong one every time."""

import pytest
from jsonschema import Draft202012Validator, SchemaError

from sglang_kimi.chat import schema_checks
from sglang_kimi.chat.schema_checks import RememberedChecks

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


class Counted:
    def __init__(self):
        self.seen = []

    def check_schema(self, schema):
        self.seen.append(schema)
        Draft202012Validator.check_schema(schema)


def test_an_equal_schema_is_not_checked_again():
    counted = Counted()
    checks = RememberedChecks(counted)
    for schema in (SCHEMA, {**SCHEMA}, {**SCHEMA, "minProperties": 1}, SCHEMA):
        checks.check_schema(schema)
    assert counted.seen == [SCHEMA, {**SCHEMA, "minProperties": 1}]


def test_values_that_are_equal_in_python_alone_are_two():
    counted = Counted()
    checks = RememberedChecks(counted)
    checks.check_schema({"minProperties": 1})
    with pytest.raises(SchemaError):
        checks.check_schema({"minProperties": True})


def test_a_wrong_schema_is_refused_each_time():
    checks = RememberedChecks(Counted())
    for _ in range(2):
        with pytest.raises(SchemaError):
            checks.check_schema({"type": "nonsense"})


def test_the_last_ones_used_are_remembered(monkeypatch):
    monkeypatch.setattr(schema_checks, "_MAX_SCHEMAS", 2)
    counted = Counted()
    checks = RememberedChecks(counted)
    for number in (1, 2, 1, 3, 1, 2):
        checks.check_schema({"minLength": number})
    assert [schema["minLength"] for schema in counted.seen] == [1, 2, 3, 2]


def test_a_schema_too_deep_to_be_remembered_is_checked():
    deep = {"type": "object"}
    for _ in range(3000):
        deep = {"properties": {"a": deep}}
    with pytest.raises(RecursionError):
        RememberedChecks(Draft202012Validator).check_schema(deep)
