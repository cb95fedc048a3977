"""One answer under way: output ids in, parser events out, as SGLang's handlers need them.

Between the parser and SGLang stand three things that only a server has: which of the ids of a
chunk are new, stop strings, and how the client wants its reasoning.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sglang_kimi.parsers.events import Content, Event, Finish, Reasoning, join_neighbours
from sglang_kimi.parsers.output_parser import OutputParser
from sglang_kimi.parsers.vocabulary import THINK_CLOSE, TokenVocabulary

from .metrics import answer_metrics
from .stop_strings import StopStrings

_CUT = ("length", "abort")
"""Types of SGLang's finish reason after which the output is incomplete."""


@dataclass(frozen=True)
class AnswerOptions:
    """What a request says about the answer.

    tools:              declared tools, in the OpenAI form; none: calls are dropped.
    tool_choice:        as the client gave it; "none" drops calls.
    history_call_ids:   ids of the calls in the prompt.
    starts_in_thinking: False where the answer continues a message whose thinking is closed.
    stops:              stop strings to cut off.
    separate_reasoning: False puts the reasoning into the content, closed by its marker.
    stream_reasoning:   False gives the reasoning in one piece.
    """

    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: Any = "auto"
    history_call_ids: Sequence[str] = ()
    starts_in_thinking: bool = True
    stops: Sequence[str] = ()
    separate_reasoning: bool = True
    stream_reasoning: bool = True


class Answer:
    """Parses one answer, whole or chunk by chunk.

    num_consumed_tokens: output ids taken so far, to find the new ones in a chunk that holds all.
    """

    def __init__(self, vocabulary: TokenVocabulary, options: AnswerOptions) -> None:
        self.num_consumed_tokens = 0
        self._options = options
        self._parser = OutputParser(
            vocabulary,
            tools=options.tools,
            tool_choice=options.tool_choice,
            history_call_ids=options.history_call_ids,
            starts_in_thinking=options.starts_in_thinking,
        )
        self._stops = StopStrings(options.stops)
        self._reasoning = _ReasoningForm(options)

    def feed(self, token_ids: Sequence[int]) -> list[Event]:
        """Return the events of the next ids."""
        self.num_consumed_tokens += len(token_ids)
        return self._shape(self._stops.feed(self._parser.feed(token_ids)))

    def finish(
        self, token_ids: Sequence[int], finish_reason: Mapping[str, Any] | None
    ) -> list[Event]:
        """Return the events of the last ids and of the end; `finish_reason` is SGLang's."""
        reason = finish_reason or {}
        self.num_consumed_tokens += len(token_ids)
        events = self._parser.feed(token_ids)
        events += self._parser.finish(truncated=reason.get("type") in _CUT)
        answer_metrics().count_repairs(self._parser.counters)
        return self._shape(self._stops.finish(events, reason.get("matched")))

    def _shape(self, events: Iterable[Event]) -> list[Event]:
        return join_neighbours(self._reasoning.shape(events))


@dataclass
class _ReasoningForm:
    """Gives the reasoning in the form that the client asked for."""

    options: AnswerOptions
    _held: list[str] = field(default_factory=list)
    _is_open: bool = False

    def shape(self, events: Iterable[Event]) -> list[Event]:
        options = self.options
        if options.separate_reasoning and options.stream_reasoning:
            return list(events)
        shaped: list[Event] = []
        for event in events:
            if isinstance(event, Reasoning):
                self._is_open = True
                if options.stream_reasoning:
                    shaped.append(Content(event.text))
                else:
                    self._held.append(event.text)
                continue
            shaped += self._close(isinstance(event, Finish))
            shaped.append(event)
        return shaped

    def _close(self, is_end: bool) -> list[Event]:
        """Return what the end of the reasoning gives; at the answer's end it was not closed."""
        if not self._is_open:
            return []
        self._is_open = False
        text = "".join(self._held)
        self._held.clear()
        if self.options.separate_reasoning:
            return [Reasoning(text)] if text else []
        text = text if is_end else text + THINK_CLOSE
        return [Content(text)] if text else []
