"""Which keywords of a schema the grammar cannot hold, found once for each schema.

The scheduler's process writes the same grammar to compile it; here only its gaps are wanted, and
only of tools that were called. Imports nothing of SGLang.
"""

import hashlib
import threading
from collections import OrderedDict
from typing import Any, Final

from sglang_kimi.codec.exact_bytes import exact_bytes
from sglang_kimi.parsers.grammars.json_schema import SchemaError, write_grammar

_MAX_SCHEMAS: Final = 4096


class RelaxedKeywords:
    """Remembers the gaps by the schema's content; thread-safe."""

    def __init__(self) -> None:
        self._keywords: OrderedDict[bytes, frozenset[str]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, schema: Any) -> frozenset[str]:
        """Return the keywords that are not held anywhere in a schema, as a rule none."""
        key = hashlib.blake2b(exact_bytes(schema), digest_size=16).digest()
        with self._lock:
            keywords = self._keywords.get(key)
            if keywords is not None:
                self._keywords.move_to_end(key)
                return keywords
        keywords = _written(schema)
        with self._lock:
            self._keywords[key] = keywords
            if len(self._keywords) > _MAX_SCHEMAS:
                self._keywords.popitem(last=False)
        return keywords


def _written(schema: Any) -> frozenset[str]:
    try:
        return frozenset(keyword for _, keyword in write_grammar(schema, "schema").relaxed)
    except SchemaError:  # refused by the grammar's compiler, so nothing was generated with it
        return frozenset()
