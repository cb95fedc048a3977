"""Tool-call ids as the model knows them: `functions.NAME:INDEX`, counted over the conversation.

The model stops acting when its history holds ids of another shape, so a history that went through
another model, a gateway or a client's sanitizer gets native ids before it is rendered.
"""

import re
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from sglang_kimi.parsers.tool_call_ids import CallHistory

from . import messages as fields

ToolCallIdMode = Literal["verbatim", "normal"]

# Nine digits at most: an id is a short label, and int() refuses thousands of digits.
_NATIVE_ID: Final = re.compile(r"functions\.(?P<name>.*):(?P<index>0|[1-9][0-9]{0,8})", re.DOTALL)


class ToolCallIds(Protocol):
    """Names calls and results of one conversation; ask in message order, once per message."""

    def for_calls(self, message: Mapping[str, Any], where: str) -> list[str]:
        """Return the ids of an assistant message's calls."""

    def for_result(self, message: Mapping[str, Any], where: str) -> str:
        """Return the id of the call that a tool message answers."""


def naming(mode: ToolCallIdMode) -> ToolCallIds:
    """Return the naming of one conversation: the client's ids or the model's."""
    if mode == "verbatim":
        return _VerbatimIds()
    if mode == "normal":
        return NativeIds()
    raise ValueError(f"tool_call_ids: want 'verbatim' or 'normal', got {mode!r}")


def history_call_ids(
    messages: Sequence[Mapping[str, Any]], mode: ToolCallIdMode = "normal"
) -> list[str]:
    """Return the ids of all calls of a conversation as they are rendered, in order."""
    ids = naming(mode)
    found: list[str] = []
    for index, message in enumerate(fields.check_objects(messages, "messages")):
        where = f"messages[{index}]"
        role = fields.role(message, where)
        if role == "assistant":
            found += ids.for_calls(message, where)
        elif role == "tool":
            ids.for_result(message, where)
    return found


def count_history_calls(messages: Sequence[Mapping[str, Any]]) -> int:
    """Return the number of calls in a conversation."""
    return len(history_call_ids(messages))


class _VerbatimIds:
    def for_calls(self, message: Mapping[str, Any], where: str) -> list[str]:
        return [
            fields.call_id(call, f"{where}.tool_calls[{index}]")
            for index, call in enumerate(fields.tool_calls(message, where))
        ]

    def for_result(self, message: Mapping[str, Any], where: str) -> str:
        return fields.tool_call_id(message, where)


class NativeIds:
    """What it gives depends on earlier messages only, so a longer history keeps its prefix.

    An id that is native already, names its own function and was not used before is kept: it is what
    the model wrote, and so stays what the prefix cache holds. Any other id gets the index after the
    highest one so far, so that no id ever repeats.
    """

    def __init__(self) -> None:
        self.history = CallHistory()  # of the calls so far, as an answer's parser needs it
        self._used: set[str] = set()
        self.next_index = 0  # of the next call that has to be counted
        self._unanswered: dict[str, deque[str]] = {}
        self._answered: dict[str, str] = {}

    @property
    def num_bytes(self) -> int:
        """Return about how much memory the tables take, texts that nodes hold left out."""
        num_ids = len(self._used) + len(self._answered) + len(self.history.used)
        return 300 * num_ids + 900 * len(self._unanswered)

    def for_calls(self, message: Mapping[str, Any], where: str) -> list[str]:
        calls = fields.tool_calls(message, where)
        originals = [fields.original_id(call) for call in calls]
        natives = [
            self._native(original, fields.call_name(call, f"{where}.tool_calls[{index}]"))
            for index, (original, call) in enumerate(zip(originals, calls, strict=True))
        ]
        self._await_results(originals, natives)
        return natives

    def for_result(self, message: Mapping[str, Any], where: str) -> str:
        return self.answer(fields.tool_call_id(message, where))

    def answer(self, original: str) -> str:
        """Return the id of the call that a result of the client's call `original` answers."""
        if waiting := self._unanswered.get(original):
            self._answered[original] = waiting.popleft()
            if not waiting:
                del self._unanswered[original]
        if original not in self._answered:
            self._take(original)  # its call is not in the history; no call may get its id
            return original
        return self._answered[original]

    def knows(self, original: str) -> bool:
        """Say whether a call before had the client's id `original`."""
        return original in self._unanswered or original in self._answered

    def follow_calls(
        self, originals: Sequence[str], natives: Sequence[str], next_index: int | None = None
    ) -> None:
        """Go on behind a turn whose calls stand in the prompt as `natives`.

        originals:  the client's ids of the same calls; the last ones it may not know.
        next_index: the index of the next counted call, where it is known from an earlier time.
        """
        if next_index is None:
            for native in natives:
                self._take(native)
        else:
            self._used.update(natives)
            self.next_index = next_index
        self._await_results(originals, natives)

    def _await_results(self, originals: Sequence[str], natives: Sequence[str]) -> None:
        self.history.add(natives)
        for original in originals:  # a turn that repeats an earlier id takes over its results
            self._unanswered.pop(original, None)
        for original, native in zip(originals, natives, strict=False):
            self._unanswered.setdefault(original, deque()).append(native)

    def _native(self, original: str, name: str) -> str:
        match = _NATIVE_ID.fullmatch(original)
        is_own = match is not None and match["name"] == name and original not in self._used
        native = original if is_own else f"functions.{name}:{self.next_index}"
        self._take(native)
        return native

    def _take(self, call_id: str) -> None:
        self._used.add(call_id)
        if match := _NATIVE_ID.fullmatch(call_id):
            self.next_index = max(self.next_index, int(match["index"]) + 1)
