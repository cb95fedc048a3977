"""Which keywords of a schema the grammar cannot hold, found once for each schema.

The scheduler's process writes the same grammar to compile it; here only its gaps are wanted, and
only of tools that were called. Imports nothing of SGLang.
"""

from typing import Any, Final

from sglang_kimi.parsers.grammars.json_schema import SchemaError, write_grammar

from .schema_memo import SchemaMemo, digest

_MAX_SCHEMAS: Final = 4096


class RelaxedKeywords:
    """Remembers the gaps by the schema's content; thread-safe."""

    def __init__(self) -> None:
        self._keywords: SchemaMemo[frozenset[str]] = SchemaMemo(_MAX_SCHEMAS)

    def of(self, schema: Any) -> frozenset[str]:
        """Return the keywords that are not held anywhere in a schema, as a rule none."""
        key = digest(schema)
        keywords = self._keywords.get(key)
        if keywords is None:
            keywords = _written(schema)
            self._keywords.keep(key, keywords)
        return keywords


def _written(schema: Any) -> frozenset[str]:
    try:
        return frozenset(keyword for _, keyword in write_grammar(schema, "schema").relaxed)
    except SchemaError:  # refused by the grammar's compiler, so nothing was generated with it
        return frozenset()
