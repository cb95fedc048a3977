"""What `/v1/responses` keeps for `previous_response_id`, within a limit.

SGLang keeps every response and the whole input before it for as long as the server runs. Here the
longest unused go first, and what several responses of one conversation share counts once.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

_MAX_BYTES: Final = 256 * 1024 * 1024
"""About how much memory responses and inputs may take in one process."""

_OBJECT_BYTES: Final = 200
"""What a value takes beside its text: the object itself and its place."""

_RESPONSE_BYTES: Final = 20_000
"""What the fields of a response take that are not its items, its tools most of all."""


class BoundedInputs(dict[str, list[Any]]):
    """SGLang's table of inputs by response, which drops the longest unused with its response.

    responses: SGLang's table of responses, which holds none whose input is dropped.
    """

    def __init__(self, responses: dict[str, Any], max_bytes: int = _MAX_BYTES) -> None:
        super().__init__()
        self.num_bytes = 0
        self._responses = responses
        self._max_bytes = max_bytes
        self._shared: dict[int, tuple[int, int]] = {}  # id of an item → lists that hold it, bytes

    def __getitem__(self, response_id: str) -> list[Any]:
        """Return the input, which counts as used just now."""
        items = super().pop(response_id)
        super().__setitem__(response_id, items)
        return items

    def __setitem__(self, response_id: str, items: list[Any]) -> None:
        """Keep an input, at the cost of the longest unused ones if need be."""
        self._release(response_id)
        super().__setitem__(response_id, items)
        self.num_bytes += _RESPONSE_BYTES
        for item in items:
            num_lists, num_bytes = self._shared.get(id(item), (0, 0))
            if not num_lists:
                num_bytes = _weigh(item)
                self.num_bytes += num_bytes
            self._shared[id(item)] = (num_lists + 1, num_bytes)
        while self.num_bytes > self._max_bytes and len(self) > 1:
            oldest = next(iter(self))
            self._release(oldest)
            self._responses.pop(oldest, None)

    def _release(self, response_id: str) -> None:
        items = super().pop(response_id, None)
        if items is None:
            return
        self.num_bytes -= _RESPONSE_BYTES
        for item in items:
            num_lists, num_bytes = self._shared.pop(id(item))
            if num_lists > 1:
                self._shared[id(item)] = (num_lists - 1, num_bytes)
            else:
                self.num_bytes -= num_bytes


def _weigh(value: Any) -> int:
    """Return about how many bytes a JSON value takes, or one of SGLang's models of it."""
    if isinstance(value, str):
        return _OBJECT_BYTES + len(value)
    if isinstance(value, Mapping):
        return _OBJECT_BYTES + sum(_OBJECT_BYTES + _weigh(part) for part in value.values())
    if isinstance(value, Sequence):
        return _OBJECT_BYTES + sum(map(_weigh, value))
    return _OBJECT_BYTES + (_weigh(vars(value)) if hasattr(value, "__dict__") else 0)
