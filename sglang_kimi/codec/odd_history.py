"""What a history holds that no conversation with this model has by itself.

Clients make it when they cut or rewrite a history. It is rendered all the same; it is counted,
since the model does worse behind it.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Final

from .tool_call_ids import NativeIds
from .turns import Turn

KINDS: Final = ("arguments", "result_without_call", "repeated_id", "role")
"""Arguments that are no JSON, a result whose call is not there, a call id again, any other role."""

_USUAL_ROLES: Final = ("system", "user", "assistant", "tool", "developer")


class OddHistory:
    """Counts by kind what is odd in the turns that are encoded; thread-safe."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def look_at(self, turn: Turn, ids: NativeIds) -> None:
        """Count what is odd in a turn; `ids` stands before it."""
        kinds = list(_odd_kinds(turn, ids))
        if kinds:
            with self._lock:
                self._counts.update(kinds)

    @property
    def counts(self) -> Counter[str]:
        """Return how often each of KINDS was met."""
        with self._lock:
            return Counter(self._counts)


def _odd_kinds(turn: Turn, ids: NativeIds) -> Iterator[str]:
    if turn.role not in _USUAL_ROLES:
        yield "role"
    if turn.role == "tool" and not ids.knows(turn.answers):
        yield "result_without_call"
    own: set[str] = set()
    for call in turn.calls:
        if call.id in own or (call.id and ids.knows(call.id)):
            yield "repeated_id"
        own.add(call.id)
        if not _is_json(call.arguments):
            yield "arguments"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
