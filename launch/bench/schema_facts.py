"""What the grammars say of a tool's schema before anything is generated."""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sglang_kimi.parsers.grammars.json_schema import arguments_schema, write_grammar


@dataclass(frozen=True)
class SchemaFacts:
    """relaxed: keywords that no grammar holds and that are checked afterwards, with their places.

    shortest: the shortest arguments as compact JSON, None where no finite ones satisfy the schema.
    """

    relaxed: tuple[tuple[str, str], ...]
    shortest: str | None


def facts_of(parameters: Any) -> SchemaFacts:
    """Return the facts of a tool's parameters; SchemaError where they are no schema."""
    return _facts(json.dumps(parameters))


@lru_cache(maxsize=1024)
def _facts(parameters: str) -> SchemaFacts:
    grammar = write_grammar(arguments_schema(json.loads(parameters), "tool"), "tool")
    return SchemaFacts(grammar.relaxed, grammar.shortest)
