"""Which tools' schemas are refused: those that the grammar of calls cannot read.

SGLang holds each request's tools against the newest edition of JSON Schema, which takes a
millisecond for each, and refuses schemas that their clients cannot change: they come from tool
servers, written to older editions (`exclusiveMinimum: true`, a list as `items`). Prompt and grammar
take those. A schema is looked at once, not with every request. Imports nothing of SGLang.
"""

from collections.abc import Callable, Sequence
from textwrap import shorten
from typing import Any, Final, NamedTuple

from sglang_kimi.parsers.grammars.json_schema import SchemaError, check_schema

from .schema_memo import SchemaMemo, digest

_MAX_VERDICTS: Final = 8192  # of about 250 bytes each; a client has some dozens of tools
_MAX_REFUSAL: Final = 300  # characters: it shows the wrong value, which may be long


class _Verdict(NamedTuple):
    refusal: str | None
    is_normal: bool


class ToolSchemas:
    """Checks schemas and remembers the verdicts by content; thread-safe.

    normalize: puts standard type names into a schema, in place, where a database's stand.
    """

    def __init__(self, normalize: Callable[[Any], None]) -> None:
        self._normalize = normalize
        self._verdicts: SchemaMemo[_Verdict] = SchemaMemo(_MAX_VERDICTS)

    def refusal(self, tools: Sequence[tuple[str, Any]]) -> str | None:
        """Return what is wrong with the first broken schema, None if all can be read.

        tools: each tool's place in the request and its schema, normalized here; None is no schema.
        """
        for where, schema in tools:
            if schema is not None and (wrong := self._look_at(schema)) is not None:
                return f"{where}: want a JSON schema, got one that breaks: {wrong}"
        return None

    def _look_at(self, schema: Any) -> str | None:
        try:
            key = digest(schema)
        except ValueError:
            return "it is nested too deeply"
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._judge(schema, key)
            self._verdicts.keep(key, verdict)
        elif not verdict.is_normal:
            self._normalize(schema)
        return verdict.refusal

    def _judge(self, schema: Any, key: bytes) -> _Verdict:
        try:
            self._normalize(schema)
            check_schema(schema, "")
        except SchemaError as error:
            wrong = f"{error.path or '/'}: {error.problem}"
            return _Verdict(shorten(wrong, _MAX_REFUSAL), digest(schema) == key)
        except RecursionError:
            return _Verdict("it is nested too deeply", True)
        return _Verdict(None, digest(schema) == key)
