"""Random schemas: a grammar accepts what `jsonschema` calls valid, and nothing else."""

import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sglang_kimi.parsers.grammars.json_schema import SchemaError

from .judge import Judge, is_valid
from .schemas import schemas, values


@given(schemas, st.lists(values, min_size=8, max_size=8), st.sampled_from((None, 4)))
@settings(max_examples=150, deadline=None)
def test_exactly_the_valid_values_pass_and_no_valid_one_is_lost_where_something_is_relaxed(
    schema: dict[str, Any], candidates: list[Any], indent: int | None
) -> None:
    candidates = [*candidates, *schema.get("enum", ())]
    try:
        judge = Judge(schema)
    except SchemaError as error:
        assert "no value satisfies it" in str(error)
        assert not any(is_valid(schema, value) for value in candidates)
        return
    for value in candidates:
        is_taken = judge.takes(value, indent=indent, ascii_only=indent is None)
        if is_valid(schema, value):
            assert is_taken, (value, judge.grammar.text)
        elif not judge.grammar.relaxed:
            assert not is_taken, (value, judge.grammar.text)


@given(schemas, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_a_random_walk_never_ends_dead_and_what_it_writes_is_valid(
    schema: dict[str, Any], rng: random.Random
) -> None:
    try:
        judge = Judge(schema)
    except SchemaError:
        return
    text = judge.walk(rng)
    if text is not None and not judge.grammar.relaxed:
        assert is_valid(schema, json.loads(text)), text


@given(schemas)
@settings(max_examples=100, deadline=None)
def test_the_short_instance_passes_its_own_grammar_and_is_valid(schema: dict[str, Any]) -> None:
    try:
        judge = Judge(schema)
    except SchemaError:
        return
    shortest = judge.grammar.shortest
    assert shortest is not None
    assert judge.takes_text(shortest)
    parts = (len(text.encode()) for text in judge.grammar.instances)
    assert judge.grammar.growth >= max(parts, default=0)
    if not judge.grammar.relaxed:
        assert is_valid(schema, json.loads(shortest))
