"""What was found out about schemas, remembered by content: clients send them again and again.

Imports nothing of SGLang.
"""

import hashlib
import threading
from collections import OrderedDict
from typing import Any, Generic, TypeVar

from sglang_kimi.codec.exact_bytes import exact_bytes

Finding = TypeVar("Finding")


def digest(schema: Any) -> bytes:
    """Return a key that equal schemas share; ValueError where it is nested too deeply."""
    return hashlib.blake2b(exact_bytes(schema), digest_size=16).digest()


class SchemaMemo(Generic[Finding]):
    """Keeps `limit` findings, the least recently used go first; thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._findings: OrderedDict[bytes, Finding] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many findings are kept."""
        return len(self._findings)

    def get(self, key: bytes) -> Finding | None:
        """Return what is kept under a `digest`."""
        with self._lock:
            finding = self._findings.get(key)
            if finding is not None:
                self._findings.move_to_end(key)
            return finding

    def keep(self, key: bytes, finding: Finding) -> None:
        """Keep a finding under a `digest`."""
        with self._lock:
            self._findings[key] = finding
            if len(self._findings) > self._limit:
                self._findings.popitem(last=False)
