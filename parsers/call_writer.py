"""From a call's id and argument text to its events; decides which calls a client gets to see."""

from collections import Counter

from .arguments import ArgumentStream
from .declared_tools import DeclaredTools
from .events import ArgumentText, CallEnd, CallStart, Event
from .json_text import JsonScanner
from .repairs import Repair
from .tool_call_ids import CallIds, NamedId, NamelessId, read_id


class CallWriter:
    """Write one answer's calls, one after the other."""

    def __init__(self, tools: DeclaredTools, ids: CallIds, counters: Counter[str]) -> None:
        """Write calls of `tools`, none at all where that is empty (N3)."""
        self._tools = tools
        self._ids = ids
        self._counters = counters
        self._arguments = ArgumentStream(counters)
        self._nameless: NamelessId | None = None
        self._kept: list[str] = []  # arguments of a nameless call, which decide its name
        self._is_shown = False
        self.num_calls = 0

    @property
    def json(self) -> JsonScanner:
        """Return how far the open call's arguments have come."""
        return self._arguments.json

    def open(self, id_text: str) -> list[Event]:
        """Begin a call at its argument marker."""
        self._arguments = ArgumentStream(self._counters)
        self._nameless = None
        self._is_shown = False
        if not self._tools:
            return []
        match read_id(id_text, self._tools):
            case NamedId() as named:
                return [self._start(named)]
            case NamelessId() as nameless:
                self._nameless = nameless
                self._kept = []
        return []

    def feed(self, text: str) -> list[Event]:
        """Pass argument text on, which is not empty."""
        if self._arguments.is_flowing and self._is_shown and not text[-1].isspace():
            self._arguments.json.feed(text)
            return [ArgumentText(self.num_calls - 1, text)]
        return self._pass_on(self._arguments.feed(text))

    def close(self, *, is_cut: bool) -> list[Event]:
        """End the call; one that the token limit cut has no `CallEnd`."""
        events = self._pass_on(self._arguments.finish(is_cut=is_cut))
        if self._nameless is not None:
            events = self._start_by_arguments(self._nameless)
        if self._is_shown and not is_cut:
            events.append(CallEnd(self.num_calls - 1))
        self._nameless = None
        return events

    def _pass_on(self, text: str) -> list[Event]:
        if not text:
            return []
        if self._nameless is not None:
            self._kept.append(text)
        return [ArgumentText(self.num_calls - 1, text)] if self._is_shown else []

    def _start(self, named: NamedId) -> CallStart:
        for repair in named.repairs:
            self._counters[repair] += 1
        self._is_shown = True
        self.num_calls += 1
        call_id = self._ids.give(named.name, named.index)
        return CallStart(self.num_calls - 1, call_id, named.name)

    def _start_by_arguments(self, nameless: NamelessId) -> list[Event]:
        arguments = "".join(self._kept)
        name = self._tools.best_fit(nameless.candidates, arguments)
        if name is None:
            self._counters[Repair.CALL_WITHOUT_NAME] += 1
            return []
        start = self._start(NamedId(name, nameless.index, (Repair.NAME_RECOVERED,)))
        return [start, ArgumentText(start.index, arguments)]
