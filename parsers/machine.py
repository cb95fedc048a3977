"""The state machine under both fronts: text and markers in, events out.

    THINKING --</think>--> CONTENT --section--> SECTION --call--> CALL_ID --argument--> ARGUMENTS
                              ^---section end-----+  ^---------------call end--------------+

A section opened in the thinking ends it. A front tells text from markers: `output_parser` by token
id, `text_front` by spelling. A marker that makes no sense where it stands is removed and counted;
nothing here raises on what a model wrote.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final

from . import vocabulary as v
from .call_writer import CallWriter
from .declared_tools import DeclaredTools
from .events import Content, Event, Finish, FinishReason, Reasoning, join_neighbours
from .json_text import JsonScanner, load_json
from .repairs import Repair
from .tool_call_ids import CallIds, looks_like_id, read_id

STOP_MARKERS: Final = frozenset({v.TURN_END, v.EOS})

# Outside a section a call marker may be a stray one: the text behind it is held as a possible id
# up to this length, then given back as the text that it is.
_MAX_HELD_ID_CHARS: Final = 512


class State(Enum):
    """Where in the output we are."""

    THINKING = auto()
    CONTENT = auto()
    SECTION = auto()  # in a section, outside its calls
    CALL_ID = auto()
    ARGUMENTS = auto()


class OutputMachine:
    """One answer's way through the states; take its events with `take`.

    read: gives the events of ordinary text, which is not empty, where none are waiting for `take`.
    It is the present state's own reader: the short way for a stream's many small pieces.
    """

    def __init__(
        self,
        tools: DeclaredTools,
        ids: CallIds,
        counters: Counter[str],
        *,
        starts_in_thinking: bool,
    ) -> None:
        """Start behind the prompt's `<think>`, or in the content."""
        self._tools = tools
        self._counters = counters
        self._calls = CallWriter(tools, ids, counters)
        self._events: list[Event] = []
        self._readers: Mapping[State, Callable[[str], list[Event]]] = {
            State.THINKING: lambda text: [Reasoning(text)],
            State.CONTENT: lambda text: [Content(text)],
            State.SECTION: self._hold,
            State.CALL_ID: self._hold,
            State.ARGUMENTS: self._calls.feed,
        }
        self._enter(State.THINKING if starts_in_thinking else State.CONTENT)
        self._before_call = self._state
        self._in_section = False
        self._section_has_calls = False
        self._held: list[str] = []  # text in a section or of an id: the next marker decides on it
        self._held_chars = 0
        self._is_held_blank = True
        self.has_ended = False  # by a stop marker or `finish`; everything after that is ignored
        self._handlers: Mapping[str, Callable[[], None]] = {
            v.THINK_OPEN: self._on_think_open,
            v.THINK_CLOSE: self._on_think_close,
            v.SECTION_BEGIN: self._on_section_begin,
            v.SECTION_END: self._on_section_end,
            v.CALL_BEGIN: self._on_call_begin,
            v.ARGUMENT_BEGIN: self._on_argument_begin,
            v.CALL_END: self._on_call_end,
        }

    @property
    def open_json(self) -> JsonScanner | None:
        """Return how far the open call's arguments have come, None outside arguments."""
        return self._calls.json if self._state is State.ARGUMENTS else None

    def take(self) -> list[Event]:
        """Return the events since the last `take`."""
        events, self._events = self._events, []
        return join_neighbours(events)

    def text(self, text: str) -> None:
        """Read ordinary text."""
        if text:
            self._events += self.read(text)

    def _enter(self, state: State) -> None:
        self._state = state
        self.read = self._readers[state]

    def _hold(self, text: str) -> list[Event]:
        self._held.append(text)
        self._held_chars += len(text)
        self._is_held_blank = self._is_held_blank and text.isspace()
        if self._is_possible_call() and self._held_chars > _MAX_HELD_ID_CHARS:
            return self._give_back()
        return []

    def marker(self, text: str) -> None:
        """Read a control token, given by its text."""
        if self.has_ended:
            return
        if text in STOP_MARKERS:
            self._end()
        elif text in self._handlers:
            self._handlers[text]()
        else:
            self._count(Repair.STRAY_MARKER)

    def finish(self, *, truncated: bool) -> None:
        """End the answer; `truncated` says that the token limit ended it."""
        match self._state:
            case State.SECTION:
                self._drop_section_text()
            case State.CALL_ID:
                self._end_in_id(truncated=truncated)
            case State.ARGUMENTS:
                self._close_call(is_missing_marker=not truncated, is_cut=truncated)
        if self._in_section and not truncated:
            self._count(Repair.MISSING_MARKER)
        self._leave_section()
        self._end()
        reason: FinishReason = "tool_calls" if self._calls.num_calls else "stop"
        self._events.append(Finish("length" if truncated else reason))

    def _end(self) -> None:
        self.has_ended = True
        self.read = lambda text: []

    # The markers, each in every state

    def _on_think_open(self) -> None:
        self._leave_for_other_block()
        if self._state in (State.CALL_ID, State.ARGUMENTS):
            self._count(Repair.STRAY_MARKER)
            return
        self._drop_section_text()
        self._count(Repair.THINK_REOPENED)
        self._enter(State.THINKING)

    def _on_think_close(self) -> None:
        self._leave_for_other_block()
        if self._state is State.THINKING:
            self._enter(self._around_calls())
        else:
            self._count(Repair.STRAY_MARKER)

    def _on_section_begin(self) -> None:
        self._leave_for_other_block()
        if self._state is State.ARGUMENTS:
            self._count(Repair.STRAY_MARKER)
            return
        if self._state is State.CALL_ID:
            self._end_without_arguments()
        self._drop_section_text()
        if self._in_section:
            self._count(Repair.DOUBLED_MARKER)
        else:
            self._in_section = True
            self._section_has_calls = False
            self._count_if_not_allowed()
        self._enter(State.SECTION)

    def _on_section_end(self) -> None:
        if self._state is State.ARGUMENTS:
            self._close_call(is_missing_marker=True)
        elif self._state is State.CALL_ID:
            self._end_without_arguments()
        if not self._in_section:
            self._count(Repair.STRAY_MARKER)
            return
        self._drop_section_text()
        self._leave_section()
        self._enter(State.CONTENT)

    def _on_call_begin(self) -> None:
        if self._state is State.ARGUMENTS:
            self._close_call(is_missing_marker=True)
        elif self._state is State.CALL_ID:
            if self._is_held_blank:
                self._count(Repair.DOUBLED_MARKER)
                return
            self._end_without_arguments()
        self._drop_section_text()
        self._section_has_calls = True
        self._before_call = self._state
        self._enter(State.CALL_ID)

    def _on_argument_begin(self) -> None:
        if self._state is State.CALL_ID:
            self._open_call(self._take_held())
        elif self._state is State.SECTION:
            # The call marker is missing: what stands before this one, on its line, is the id.
            self._count(Repair.MISSING_MARKER)
            self._section_has_calls = True
            lines = self._take_held().split("\n")
            self._open_call(next((line for line in reversed(lines) if line.strip()), ""))
        elif self._state is State.ARGUMENTS and not self._calls.json.first:
            self._count(Repair.DOUBLED_MARKER)
        else:
            self._count(Repair.STRAY_MARKER)

    def _on_call_end(self) -> None:
        if self._state is State.ARGUMENTS:
            self._close_call()
        elif self._state is State.CALL_ID:
            self._end_without_arguments(is_call_end=True)
        elif self._state is State.SECTION:
            self._count(Repair.DOUBLED_MARKER)
        else:
            self._count(Repair.STRAY_MARKER)

    # Sections

    def _around_calls(self) -> State:
        return State.SECTION if self._in_section else State.CONTENT

    def _leave_section(self) -> None:
        if self._in_section and not self._section_has_calls:
            self._count(Repair.EMPTY_SECTION)
        self._in_section = False

    def _drop_section_text(self) -> None:
        if self._take_held().strip():
            self._count(Repair.SECTION_TEXT_DROPPED)

    def _take_held(self) -> str:
        held = "".join(self._held)
        self._held, self._held_chars, self._is_held_blank = [], 0, True
        return held

    # Calls

    def _is_possible_call(self) -> bool:
        """Tell whether a call marker came outside a section, so that it may be a stray one."""
        return self._state is State.CALL_ID and not self._in_section

    def _open_call(self, id_text: str) -> None:
        self._enter(State.ARGUMENTS)
        if not self._in_section:  # R1: the section's marker is missing
            self._count(Repair.MISSING_MARKER)
            self._count_if_not_allowed()
        self._events += self._calls.open(id_text)

    def _close_call(self, *, is_missing_marker: bool = False, is_cut: bool = False) -> None:
        if is_missing_marker:
            self._count(Repair.MISSING_MARKER)
        self._events += self._calls.close(is_cut=is_cut)
        self._enter(self._around_calls())

    def _leave_for_other_block(self) -> None:
        """End a call whose end is missing, or that was none, before a marker of another block."""
        if self._is_possible_call():
            self._end_without_arguments()
        elif self._state is State.ARGUMENTS and self._calls.json.is_object:
            self._close_call(is_missing_marker=True)

    def _end_without_arguments(self, *, is_call_end: bool = False) -> None:
        """End a call before its argument marker: repair it, give the text back, or drop it."""
        id_text, arguments = self._split_arguments("".join(self._held))
        is_plain = read_id(id_text, self._tools).is_plain
        if isinstance(load_json(arguments), dict):
            is_clear = is_plain or self._in_section
        else:
            is_clear = is_plain and (is_call_end or self._in_section)
        if is_clear:
            self._take_held()
            self._count(Repair.MISSING_MARKER)
            self._open_call(id_text)
            if arguments:
                self._events += self._calls.feed(arguments)
            self._close_call()
        elif self._is_possible_call():
            self._events += self._give_back()
        else:
            self._drop_id(Repair.CALL_WITHOUT_ARGUMENTS)

    def _end_in_id(self, *, truncated: bool) -> None:
        """End the output before an argument marker (X2), unless the call is all there (R1)."""
        text = "".join(self._held)
        _, arguments = self._split_arguments(text)
        if not truncated and isinstance(load_json(arguments), dict):
            self._end_without_arguments()
        elif self._in_section or looks_like_id(text, self._tools):
            self._drop_id(Repair.CUT_ID)
        else:
            self._events += self._give_back()

    def _split_arguments(self, text: str) -> tuple[str, str]:
        """Cut text without an argument marker where an object begins."""
        if read_id(text, self._tools).is_declared:
            return text, ""
        id_text, brace, rest = text.partition("{")
        return id_text, brace + rest

    def _drop_id(self, kind: Repair) -> None:
        self._take_held()
        self._count(kind)
        self._enter(self._around_calls())

    def _give_back(self) -> list[Event]:
        """Treat a call marker outside a section as stray: the text around it stays (R2)."""
        self._count(Repair.STRAY_MARKER)
        self._enter(self._before_call)
        held = self._take_held()
        return self.read(held) if held else []

    def _count(self, kind: Repair) -> None:
        self._counters[kind] += 1

    def _count_if_not_allowed(self) -> None:
        if not self._tools:
            self._count(Repair.SECTION_NOT_ALLOWED)
