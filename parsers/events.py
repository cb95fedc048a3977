"""What a parser tells its caller, and the sum of it.

A parser gives events in order; `collect` adds them up, so whole and streamed parsing are one path.
Text events are pieces: a field is the concatenation of its pieces. Events are not to be changed;
they are not frozen because there is one for each token, and frozen ones take three times as long.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

FinishReason = Literal["stop", "tool_calls", "length"]


@dataclass(slots=True)
class Reasoning:
    """A piece of the thinking."""

    text: str


@dataclass(slots=True)
class Content:
    """A piece of the answer."""

    text: str


@dataclass(slots=True)
class CallStart:
    """A call begins; `index` counts the answer's calls 0, 1, 2 … without gaps."""

    index: int
    id: str
    name: str


@dataclass(slots=True)
class ArgumentText:
    """A piece of the arguments of the call `index`."""

    index: int
    text: str


@dataclass(slots=True)
class CallEnd:
    """The call `index` is complete. A call that the token limit cut has no such event."""

    index: int


@dataclass(slots=True)
class Finish:
    """The output is over; always the last event, given by `finish`."""

    reason: FinishReason


Event = Reasoning | Content | CallStart | ArgumentText | CallEnd | Finish


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call; `arguments` is the string that the model wrote, usually a JSON object."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ParsedOutput:
    """A whole answer; fields without text are empty strings."""

    reasoning: str
    content: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: FinishReason


def collect(events: Iterable[Event]) -> ParsedOutput:
    """Add up the events of one answer, from the first `feed` to `finish`.

    Without a `Finish` event, so on an answer still under way, the reason is "stop".
    """
    reasoning: list[str] = []
    content: list[str] = []
    calls: list[tuple[CallStart, list[str]]] = []
    reason: FinishReason = "stop"
    for event in events:
        match event:
            case Reasoning(text):
                reasoning.append(text)
            case Content(text):
                content.append(text)
            case CallStart():
                calls.append((event, []))
            case ArgumentText(index, text):
                calls[index][1].append(text)
            case Finish(reason):
                pass
            case CallEnd():
                pass
    tool_calls = tuple(ToolCall(start.id, start.name, "".join(text)) for start, text in calls)
    return ParsedOutput("".join(reasoning), "".join(content), tool_calls, reason)


def join_neighbours(events: Iterable[Event]) -> list[Event]:
    """Join neighbouring text events of one field, so that one `feed` gives few events."""
    events = list(events)
    if len(events) < 2:
        return events
    joined: list[Event] = []
    for _, run in groupby(events, key=_field):
        first, *rest = run
        match first:
            case Reasoning() | Content() if rest:
                joined.append(type(first)(_join([first, *rest])))
            case ArgumentText(index) if rest:
                joined.append(ArgumentText(index, _join([first, *rest])))
            case _:
                joined += [first, *rest]
    return joined


def _field(event: Event) -> tuple[type[Event], int]:
    return type(event), event.index if isinstance(event, ArgumentText) else -1


def _join(events: Iterable[Event]) -> str:
    return "".join(e.text for e in events if isinstance(e, Reasoning | Content | ArgumentText))
