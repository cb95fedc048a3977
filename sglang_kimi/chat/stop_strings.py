"""Take a client's stop string off the end of the parsed text.

SGLang ends a request with the token that completes a stop string and trims its own text, but our
parser works on the ids, which run through that token. So the string, and what the last token holds
behind it, has to be cut here; while streaming, text that could be its beginning is held back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sglang_kimi.parsers.events import ArgumentText, Content, Event, Reasoning

_TEXT_EVENTS = (Reasoning, Content, ArgumentText)


class StopStrings:
    """Filter for the events of one answer.

    stops: the request's stop strings; with none every event passes at once. A stop string is
    looked for within one field, which is where a client can see it.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held: Reasoning | Content | ArgumentText | None = None

    def feed(self, events: Iterable[Event]) -> list[Event]:
        """Return the events whose text cannot belong to a stop string any more."""
        if not self._stops:
            return list(events)
        passed: list[Event] = []
        for event in events:
            if not isinstance(event, _TEXT_EVENTS):
                passed += self._release()
                passed.append(event)
                continue
            if self._held is not None and _same_field(self._held, event):
                event = replace(event, text=self._held.text + event.text)
            else:
                passed += self._release()
            keep = self._length_to_hold(event.text)
            shown = event.text[: len(event.text) - keep]
            self._held = replace(event, text=event.text[len(shown) :]) if keep else None
            if shown:
                passed.append(replace(event, text=shown))
        return passed

    def finish(self, events: Iterable[Event], matched: object) -> list[Event]:
        """Return the last events, cut at the stop string that SGLang says it matched.

        matched: SGLang's `finish_reason["matched"]`; anything but one of our strings cuts nothing.
        """
        cut = matched if isinstance(matched, str) and matched in self._stops else None
        passed: list[Event] = []
        for event in [*self._release(), *events]:
            last = passed[-1] if passed else None
            if (
                isinstance(event, _TEXT_EVENTS)
                and isinstance(last, _TEXT_EVENTS)
                and _same_field(last, event)
            ):
                passed[-1] = replace(last, text=last.text + event.text)
            else:
                passed.append(event)
        if cut is not None:
            _cut_last(passed, cut)
        return passed

    def _release(self) -> list[Event]:
        held, self._held = self._held, None
        return [held] if held is not None else []

    def _length_to_hold(self, text: str) -> int:
        """Return how many last characters could be a stop string or the beginning of one."""
        held = 0
        for stop in self._stops:
            # A whole stop string is held too: with min_tokens SGLang may not end here, and only
            # the chunk with the finish reason tells. So look for it anywhere in the tail.
            whole = text.rfind(stop)
            if whole >= 0:
                held = max(held, len(text) - whole)
            for length in range(min(len(stop) - 1, len(text)), held, -1):
                if text.endswith(stop[:length]):
                    held = length
                    break
        return held


def _same_field(one: Event, other: Event) -> bool:
    if isinstance(one, ArgumentText) and isinstance(other, ArgumentText):
        return one.index == other.index
    return type(one) is type(other)


def _cut_last(events: list[Event], stop: str) -> None:
    for position in range(len(events) - 1, -1, -1):
        event = events[position]
        if isinstance(event, _TEXT_EVENTS) and stop in event.text:
            events[position] = replace(event, text=event.text[: event.text.rfind(stop)])
            return
