"""Token ids in, events out: the ids front of the state machine.

Control tokens are known by their ids alone, so the same characters as ordinary tokens are text. Any
number of ids can be fed at a time; the events' sum depends on the ids only, not on the portions.
"""

import codecs
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .declared_tools import ToolChoice, declared_tools
from .events import Event
from .machine import OutputMachine
from .repairs import Repair
from .tool_call_ids import CallHistory, CallIds
from .vocabulary import TokenVocabulary

_new_decoder = codecs.getincrementaldecoder("utf-8")


class OutputParser:
    """Parse what one request generated after the prompt; use a new parser for each answer."""

    def __init__(
        self,
        vocabulary: TokenVocabulary,
        *,
        tools: Sequence[Mapping[str, Any]] | None,
        tool_choice: ToolChoice = "auto",
        history_call_ids: Sequence[str] | CallHistory | int = (),
        starts_in_thinking: bool = True,
    ) -> None:
        """Take the request's tools and choice, as in its body.

        history_call_ids: ids of the conversation's earlier calls, as the prompt shows them; a bare
        number n stands for calls with the indices 0..n-1. starts_in_thinking: the prompt ended with
        an open `<think>`.
        """
        self.counters: Counter[str] = Counter()  # repairs and drops by `repairs.Repair`
        self._vocabulary = vocabulary
        self._ordinary = vocabulary.ordinary_tokens
        self._num_ordinary = len(self._ordinary)
        self._decoder = _new_decoder(errors="replace")
        self._held = b""  # the beginning of a UTF-8 sequence, which the decoder holds
        self._machine = OutputMachine(
            declared_tools(tools, tool_choice),
            CallIds(history_call_ids, self.counters),
            self.counters,
            starts_in_thinking=starts_in_thinking,
        )

    def feed(self, token_ids: Sequence[int]) -> list[Event]:
        """Read the next ids and return what they settle; a UTF-8 sequence is held until whole."""
        if len(token_ids) == 1 and 0 <= token_ids[0] < self._num_ordinary and not self._held:
            try:
                text = self._ordinary[token_ids[0]].decode()
            except UnicodeDecodeError:
                return self._feed(token_ids)
            return self._machine.read(text) if text else []
        return self._feed(token_ids)

    def _feed(self, token_ids: Sequence[int]) -> list[Event]:
        ordinary, num_ranks, size = self._ordinary, self._num_ordinary, self._vocabulary.size
        pending: list[bytes] = []
        for token_id in token_ids:
            if 0 <= token_id < num_ranks:
                pending.append(ordinary[token_id])
            elif num_ranks <= token_id < size:
                self._read(b"".join(pending), is_last=True)
                pending = []
                self._machine.marker(self._vocabulary.control_text(token_id) or "")
            else:
                self.counters[Repair.UNKNOWN_TOKEN] += 1
        self._read(b"".join(pending), is_last=False)
        return self._machine.take()

    def finish(self, truncated: bool) -> list[Event]:
        """End the answer and return the last events; `truncated`: the token limit ended it."""
        self._read(b"", is_last=True)
        self._machine.finish(truncated=truncated)
        return self._machine.take()

    def _read(self, data: bytes, *, is_last: bool) -> None:
        self._machine.text(self._decoder.decode(data, is_last))
        self._held = self._decoder.getstate()[0]
