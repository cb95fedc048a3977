"""Whether a message that a client sends back is a turn that was generated here.

The generated ids are parsed as they were for the client, and the message is compared with that:
what equal forms clients make of an answer is said here and nowhere else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sglang_kimi.parsers.events import CallEnd, Event, ParsedOutput, ToolCall, collect
from sglang_kimi.parsers.output_parser import OutputParser
from sglang_kimi.parsers.tool_call_ids import CallHistory
from sglang_kimi.parsers.vocabulary import THINK_CLOSE, TokenVocabulary

from .same_arguments import are_same_arguments
from .splice import is_complete
from .turns import ReturnedCall, Turn

_MAX_UNREAD_TOKENS: Final = 8
"""A client that leaves a stream has read a few tokens less than were generated (measured: two)."""


@dataclass(frozen=True, slots=True)
class ShownTurn:
    """What a client got; texts are trimmed at their edges, as some clients do."""

    reasoning: str
    content: str
    calls: tuple[ToolCall, ...]
    is_last_call_cut: bool

    def is_returned_as(self, turn: Turn) -> bool:
        """Tell whether an assistant's turn from a client is this one in an equal form.

        No thinking is equal to any; blanks at the edges, call ids and the message's name play no
        part. A cut call may be absent, since not every API can show it.
        """
        if not isinstance(turn.content, str):
            return False
        thinking, content = turn.thinking.strip(), turn.content.strip()
        if thinking and thinking != self.reasoning:
            return False
        # A request with separate_reasoning=false has its thinking in the content.
        if content not in (self.content, f"{self.reasoning}{THINK_CLOSE}{self.content}"):
            return False
        return self._are_calls_returned_as(turn.calls)

    def _are_calls_returned_as(self, returned: Sequence[ReturnedCall]) -> bool:
        missing = len(self.calls) - len(returned)
        if missing not in (0, int(self.is_last_call_cut)):
            return False
        return all(
            call.name == other.name and are_same_arguments(call.arguments, other.arguments)
            for call, other in zip(self.calls, returned, strict=False)
        )


@dataclass(frozen=True, slots=True)
class GeneratedTurn:
    """A generated turn in every length that a client may have read of it, the whole first."""

    shown: tuple[ShownTurn, ...]

    @property
    def call_ids(self) -> tuple[str, ...]:
        """Return the ids of all calls, as clients see them."""
        return tuple(call.id for call in self.shown[0].calls) if self.shown else ()

    @property
    def num_bytes(self) -> int:
        """Return about how much memory the texts take."""
        return sum(
            4 * (len(shown.reasoning) + len(shown.content))
            + sum(4 * len(call.arguments) + 500 for call in shown.calls)
            + 500
            for shown in self.shown
        )

    def is_returned_as(self, turn: Turn) -> bool:
        """Tell whether a client's turn is this one in an equal form."""
        return any(shown.is_returned_as(turn) for shown in self.shown)


def read_generated(
    vocabulary: TokenVocabulary,
    token_ids: Sequence[int],
    *,
    tools: Sequence[Mapping[str, Any]] | None,
    history_call_ids: Sequence[str] | CallHistory,
) -> GeneratedTurn:
    """Parse generated ids as they were parsed for the client.

    tools, history_call_ids: of the prompt behind which they were generated.
    """
    if max(token_ids) >= vocabulary.size:
        return GeneratedTurn(())  # no prompt can hold it
    if is_complete(vocabulary, token_ids):
        generated, _ = read_complete(
            vocabulary, token_ids, tools=tools, history_call_ids=history_call_ids
        )
        return generated
    parser = OutputParser(vocabulary, tools=tools, history_call_ids=history_call_ids)
    first = max(len(token_ids) - _MAX_UNREAD_TOKENS, 1)
    events = parser.feed(token_ids[:first])
    shown = [_shown(events)]
    for token_id in token_ids[first:]:
        events += parser.feed([token_id])
        shown.append(_shown(events))
    shown.append(_shown([*events, *parser.finish(True)]))
    return GeneratedTurn(tuple(dict.fromkeys(reversed(shown))))


def read_complete(
    vocabulary: TokenVocabulary,
    token_ids: Sequence[int],
    *,
    tools: Sequence[Mapping[str, Any]] | None,
    history_call_ids: Sequence[str] | CallHistory,
) -> tuple[GeneratedTurn, Turn]:
    """Parse a turn that a stop token ended; with it, the message of a client that changes nothing.

    The arguments are those of `read_generated`; all ids must be of the vocabulary.
    """
    parser = OutputParser(vocabulary, tools=tools, history_call_ids=history_call_ids)
    events = [*parser.feed(token_ids), *parser.finish(False)]
    output = collect(events)
    calls = tuple(ReturnedCall(call.id, call.name, call.arguments) for call in output.tool_calls)
    role = "assistant"
    turn = Turn(role, role, output.content, output.reasoning, calls)
    return GeneratedTurn((_shown_output(output, events),)), turn


def _shown(events: Sequence[Event]) -> ShownTurn:
    return _shown_output(collect(events), events)


def _shown_output(output: ParsedOutput, events: Sequence[Event]) -> ShownTurn:
    num_ended = sum(isinstance(event, CallEnd) for event in events)
    return ShownTurn(
        output.reasoning.strip(),
        output.content.strip(),
        output.tool_calls,
        num_ended < len(output.tool_calls),
    )
