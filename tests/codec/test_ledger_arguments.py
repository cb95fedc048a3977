"""When arguments that a client sends back are those that the model wrote."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglang_kimi.codec.same_arguments import are_same_arguments


@pytest.mark.parametrize(
    ("generated", "returned"),
    [
        ('{"a":1,"b":2}', '{ "b": 2,\n "a": 1 }'),
        ('{"a": 30.0}', '{"a":30}'),
        ('{"a": 1e3}', '{"a":1000}'),
        ('{"a": 1e3}', '{"a": 1000.0}'),
        ('{"a": 0.10}', '{"a":0.1}'),
        ('{"a": -0}', '{"a":0}'),
        ('{"a": -0.0}', '{"a":0}'),
        ('{"a": 1e40}', '{"a":1e+40}'),
        ('{"a": 18446744073709551617}', '{"a":18446744073709552000}'),
        ('{"a": 18446744073709551617}', '{"a":1.8446744073709552e+19}'),
        ('{"a": 9007199254740993}', '{"a":9007199254740992}'),
        ('{"a": 123456789012345678901234}', '{"a":1.2345678901234568e+23}'),
        ('{"a": 1, "a": 2}', '{"a":2}'),
        ('{"a": "\\u00e9\\/"}', '{"a":"é/"}'),
        ('{"a": "\\ud800"}', '{"a":"\\ud800"}'),
        ("", "{}"),
        ("{}", ""),
        ('{"a": ls', ' {"a": ls\n'),
        ('{"a": ls', "{}"),
        ("[1]", "{}"),
        ('{"a": [{"b": [1.0, null, true]}]}', '{"a":[{"b":[1,null,true]}]}'),
        ("9" * 5000, "9" * 5000 + " "),
    ],
)
def test_equal_forms_are_the_same(generated: str, returned: str) -> None:
    assert are_same_arguments(generated, returned)


@pytest.mark.parametrize(
    ("generated", "returned"),
    [
        ('{"a": 1}', "{}"),
        ("{}", '{"a": 1}'),
        ('{"a": 1}', '{"a": 2}'),
        ('{"a": 1}', '{"a": "1"}'),
        ('{"a": 1}', '{"a": true}'),
        ('{"a": 0}', '{"a": false}'),
        ('{"a": 0}', '{"a": null}'),
        ('{"a": null}', "{}"),
        ('{"a": [1, 2]}', '{"a": [2, 1]}'),
        ('{"a": [1]}', '{"a": [1, 1]}'),
        ('{"a": "x "}', '{"a": "x"}'),
        ('{"a": 1, "a": 2}', '{"a": 1}'),
        ('{"a": 18446744073709551617}', '{"a": 18446744073709551618}'),
        ('{"a": 9007199254740995}', '{"a": 9007199254740997}'),
        ('{"a": ' + "9" * 400 + "}", '{"a": ' + "9" * 399 + "8}"),
        ('{"a": ls', '{"a": "ls"}'),
        ('{"a": ls', '{"a": l'),
        ("9" * 5000, "9" * 4999 + "8"),
    ],
)
def test_other_values_are_not_the_same(generated: str, returned: str) -> None:
    assert not are_same_arguments(generated, returned)


def test_values_nested_too_deep_to_read_are_compared_as_text() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    assert are_same_arguments(deep, f" {deep}")
    assert not are_same_arguments(deep, deep[1:-1])


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values), st.dictionaries(st.text(), json_values))
def test_two_objects_are_the_same_only_where_they_are_equal(one: object, other: object) -> None:
    """Written in two ways, an object is the same; what Python holds for unequal is not.

    Python takes True for 1, so only one direction can be told by its equality.
    """
    text = json.dumps(one)
    assert are_same_arguments(text, json.dumps(one, indent=1, sort_keys=True, ensure_ascii=False))
    if are_same_arguments(text, json.dumps(other)):
        assert json.loads(json.dumps(one), parse_int=float) == json.loads(
            json.dumps(other), parse_int=float
        )
