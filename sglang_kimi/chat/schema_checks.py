"""Tools' schemas are checked once: SGLang checks each of them at every request, 2 ms a tool."""

import hashlib
import marshal
import threading
from collections import OrderedDict
from typing import Any, Final

from sglang_kimi.seams import require

_MAX_SCHEMAS: Final = 8192
_MARSHAL_VERSION: Final = 2  # the last one whose bytes depend on the values alone
_DIGEST_BYTES: Final = 16


class RememberedChecks:
    """Stands for jsonschema's validator where SGLang checks schemas; thread-safe.

    Remembers digests of schemas that were sound, the last ones used; a wrong one is checked, and
    refused, each time.
    """

    def __init__(self, validator: Any) -> None:
        self._validator = validator
        self._sound: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def check_schema(self, schema: Any) -> None:
        """Raise jsonschema's SchemaError for a wrong schema, as the validator does."""
        key = _key(schema)
        with self._lock:
            if key is not None and key in self._sound:
                self._sound.move_to_end(key)
                return
        self._validator.check_schema(schema)
        if key is not None:
            with self._lock:
                self._sound[key] = None
                if len(self._sound) > _MAX_SCHEMAS:
                    self._sound.popitem(last=False)


def register() -> None:
    """Put it in the validator's place, in the module of SGLang's chat handler alone."""
    validator = require("schema_validator")
    if not isinstance(validator, RememberedChecks):
        require("chat_module").Draft202012Validator = RememberedChecks(validator)


def _key(schema: Any) -> bytes | None:
    """Return what equal schemas share; None for one that is nested too deeply to be written."""
    try:
        data = marshal.dumps(schema, _MARSHAL_VERSION)
    except ValueError:
        return None
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
