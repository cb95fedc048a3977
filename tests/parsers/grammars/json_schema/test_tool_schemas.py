"""Grammars of tools' schemas against jsonschema: what is written, and what must pass."""

import json
import random
from typing import Any

import jsonschema
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st

from sglang_kimi.parsers.grammars.json_schema import SchemaError, SchemaGrammar, write_grammar

from .tool_schemas import VALUES, schemas
from .walks import Walker, changed, read, spell


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


@settings(max_examples=40, deadline=None)
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


@settings(max_examples=40, deadline=None)
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
