"""Which responses of `/v1/responses` continue each other by `previous_response_id`.

A conversation is named by its first response, so that all its turns have one name.
"""

import threading
from collections import OrderedDict
from typing import Final

_MAX_RESPONSES: Final = 20_000
"""Names kept, some hundred bytes each; a response that is forgotten starts a name of its own."""


class ResponseChains:
    """Remembers the first response of each chain; safe for several threads."""

    def __init__(self, max_responses: int = _MAX_RESPONSES) -> None:
        self._max_responses = max_responses
        self._first: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def name(self, response_id: str, previous_response_id: str | None) -> str:
        """Return the name of the conversation that `response_id` begins or continues."""
        with self._lock:
            if previous_response_id is None:
                first = response_id
            else:
                first = self._first.get(previous_response_id, previous_response_id)
            self._first[response_id] = first
            self._first.move_to_end(response_id)
            while len(self._first) > self._max_responses:
                self._first.popitem(last=False)
            return first
