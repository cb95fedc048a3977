"""Tool calls as a body: content, section, id, arguments, next call, end.

    CONTENT -> SECTION -> ID -> ARGUMENTS -> AFTER -> (ID ...) -> END -> stop token

The markers, ids and indices are masks made here; only the arguments have grammars, a fresh matcher
for every call, so that no grammar holds an index. A forced call has no content: the section
follows the thinking at once. Where none is forced the content is free, `<think>` in it too, or
held to a format: then a section comes before its first token or after its last. All calls are
made in one section, which ends the turn.
"""

from collections import deque
from collections.abc import Mapping
from enum import Enum, auto
from functools import cached_property
from typing import NamedTuple

from ..vocabulary import (
    ARGUMENT_BEGIN,
    CALL_BEGIN,
    CALL_END,
    SECTION_BEGIN,
    SECTION_END,
    TURN_END,
)
from .bodies import AnswerGrammar, Body
from .call_ids import CallIds
from .json_grammar import JsonGrammar
from .json_matcher import MAX_ROLLBACK, JsonMatcher
from .masks import Bitmask, Mask, MaskVocabulary
from .text_matcher import TextMatcher

# Section begin, call begin, argument begin; section end and turn end follow the call.
_NUM_OPENING = 3
_NUM_ENDING = 2
_NUM_AFTER_CALL = 16
"""A further call isn't begun unless so many tokens more than its shortest form are left."""


class Phase(Enum):
    """What the next token belongs to."""

    CONTENT = auto()
    SECTION = auto()
    CALL = auto()
    ID = auto()
    ARGUMENTS = auto()
    AFTER = auto()
    END = auto()
    DONE = auto()


class ToolCallGrammar:
    """The calls that a request may make; see `GrammarCompiler.tool_calls`.

    arguments: a grammar per callable tool. is_forced: a call must come, and no content before it.
    is_parallel: more than one call may come. answer: what the content is held to, None = free.
    """

    def __init__(
        self,
        masks: MaskVocabulary,
        arguments: Mapping[str, JsonGrammar],
        *,
        is_forced: bool,
        is_parallel: bool,
        answer: AnswerGrammar | None = None,
    ) -> None:
        control_id = masks.vocabulary.control_id
        self.masks = masks
        self.arguments = dict(arguments)
        self.is_forced = is_forced
        self.is_parallel = is_parallel
        self.answer = answer
        self.call_ids = CallIds(masks, self.arguments)
        self.markers = {
            Phase.SECTION: control_id(SECTION_BEGIN),
            Phase.CALL: control_id(CALL_BEGIN),
            Phase.END: control_id(TURN_END),
        }
        self.section_begin = control_id(SECTION_BEGIN)
        self.section_end = control_id(SECTION_END)
        self.call_begin = control_id(CALL_BEGIN)
        self.call_end = control_id(CALL_END)
        self.argument_begin = control_id(ARGUMENT_BEGIN)
        self.entry_ids = (self.section_begin,)
        self.marker_masks: dict[Phase, Mask] = {
            phase: masks.single(marker) for phase, marker in self.markers.items()
        }

    @property
    def may_think_again(self) -> bool:
        """Return whether `<think>` in the content goes back to the thinking."""
        return not self.is_forced and self.answer is None

    @property
    def relaxed(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """Return by tool the (JSON pointer, keyword) pairs that aren't held, if there are any."""
        return {name: text.relaxed for name, text in self.arguments.items() if text.relaxed}

    @property
    def num_reserved(self) -> int:
        """Return the tokens that must be left for the body, 0 if nothing must come."""
        if self.is_forced:
            return max(self.shortest_calls.values()) + _NUM_OPENING + _NUM_ENDING
        return 0 if self.answer is None else self.answer.num_reserved

    @cached_property
    def shortest_calls(self) -> dict[str, int]:
        """Return by tool the tokens of its shortest call: id, arguments, call end."""
        # Six digits are room for any index.
        return {
            name: self.masks.num_tokens(f"functions.{name}:".encode()) + 6 + text.num_shortest + 1
            for name, text in self.arguments.items()
        }

    @cached_property
    def argument_costs(self) -> dict[str, int]:
        """Return by tool the tokens of its shortest arguments and their marker."""
        return {name: text.num_shortest + 1 for name, text in self.arguments.items()}

    @cached_property
    def num_shortest_call(self) -> int:
        """Return the tokens of the shortest of all calls."""
        return min(self.shortest_calls.values())

    def body(self, start_index: int) -> Body:
        """Return a body before its first token; start_index: the first call's index."""
        return CallsBody(self, start_index)


class _State(NamedTuple):
    phase: Phase
    call_index: int
    """Index of the next call to be begun or of the one in the making."""
    typed: bytes
    """The part of the id that is written."""
    text: JsonMatcher | TextMatcher | None
    """What the arguments, or an answer in the content, are held to."""
    is_text: bool
    """Whether the token that led here went to `text`."""


class CallsBody:
    """The state of one answer's calls. Made by `ToolCallGrammar.body`."""

    def __init__(self, grammar: ToolCallGrammar, start_index: int) -> None:
        self._grammar = grammar
        self._masks = grammar.masks
        self._start_index = start_index
        phase = Phase.SECTION if grammar.is_forced else Phase.CONTENT
        answer = None if grammar.is_forced or grammar.answer is None else grammar.answer.text
        text = None if answer is None else answer.matcher(grammar.masks.stop_ids)
        self._state = _State(phase, start_index, b"", text, False)
        self._undo: deque[_State] = deque(maxlen=MAX_ROLLBACK)

    @property
    def phase(self) -> Phase:
        """Return what the next token belongs to."""
        return self._state.phase

    def is_terminated(self) -> bool:
        """Return whether the stop token was accepted."""
        return self._state.phase is Phase.DONE

    def accept(self, token_id: int) -> None:
        """Take one token; raises ValueError naming the phase if it isn't allowed here."""
        after = self._after(self._state, token_id)
        if after is None:
            phase = self._state.phase.name.lower()
            raise ValueError(f"token_id: {token_id} isn't allowed in {phase} of a tool call")
        self._undo.append(self._state)
        self._state = after

    def rollback(self, num_tokens: int) -> None:
        """Take back the last tokens."""
        for _ in range(num_tokens):
            if self._state.is_text and self._state.text is not None:
                self._state.text.rollback(1)
            self._state = self._undo.pop()

    def fill(self, bitmask: Bitmask, row: int, num_left: int | None) -> None:
        """Write the allowed next tokens into a row."""
        state, grammar = self._state, self._grammar
        if state.phase is Phase.ARGUMENTS and state.text is not None:
            room = None if num_left is None else num_left - _NUM_ENDING
            state.text.fill(bitmask, row, room)
        elif state.phase is Phase.ID:
            bitmask[row].copy_(self._id_mask(num_left))
        elif state.phase is Phase.CONTENT:
            self._fill_content(bitmask, row, num_left)
        elif state.phase is Phase.AFTER:
            bitmask[row].copy_(self._masks.mask(self._after_ids(num_left)))
        else:
            phase = Phase.END if state.phase is Phase.DONE else state.phase
            bitmask[row].copy_(grammar.marker_masks[phase])

    def _fill_content(self, bitmask: Bitmask, row: int, num_left: int | None) -> None:
        state, grammar = self._state, self._grammar
        if state.text is None:
            bitmask[row].copy_(self._masks.content)
        else:
            state.text.fill(bitmask, row, num_left)
        has_room = num_left is None or num_left >= self._num_needed(_NUM_OPENING)
        if has_room and self._may_begin_section(state):
            bitmask[row] |= grammar.marker_masks[Phase.SECTION]

    def _may_begin_section(self, state: _State) -> bool:
        """Return whether the content is free, not begun, or complete."""
        return state.text is None or not state.is_text or state.text.is_complete()

    def _after_ids(self, num_left: int | None) -> list[int]:
        grammar = self._grammar
        is_short = num_left is not None and num_left < self._num_needed(_NUM_AFTER_CALL)
        if is_short or not grammar.is_parallel:
            return [grammar.section_end]
        return [grammar.section_end, grammar.call_begin]

    def _num_needed(self, num_more: int) -> int:
        """Return the tokens that the shortest call, the section's end and `num_more` take."""
        return self._grammar.num_shortest_call + _NUM_ENDING + num_more

    def _id_mask(self, num_left: int | None) -> Mask:
        state, grammar = self._state, self._grammar
        room = None if num_left is None else num_left - _NUM_ENDING
        token_ids = grammar.call_ids.next_ids(
            state.typed, state.call_index, grammar.argument_costs, room
        )
        name = grammar.call_ids.complete_name(state.typed, state.call_index)
        if name is not None:
            token_ids = [*token_ids, grammar.argument_begin]
        return self._masks.mask(token_ids)

    def _after(self, state: _State, token_id: int) -> _State | None:
        """Return the state after a token, None if it isn't allowed."""
        grammar = self._grammar
        phase, index = state.phase, state.call_index
        if phase is Phase.ARGUMENTS:
            return self._after_text(state, token_id, Phase.AFTER)
        if phase is Phase.CONTENT and state.text is not None and token_id != grammar.section_begin:
            return self._after_text(state, token_id, Phase.DONE)
        if phase is Phase.CONTENT and not self._may_begin_section(state):
            return None
        if phase is Phase.ID:
            return self._after_id(state, token_id)
        if phase is Phase.CONTENT and token_id < self._masks.num_ranks:
            return _State(phase, index, b"", None, False)
        if phase is Phase.CONTENT and token_id in self._masks.stop_ids:
            return _State(Phase.DONE, index, b"", None, False)
        moves = {
            (Phase.CONTENT, grammar.section_begin): Phase.CALL,
            (Phase.SECTION, grammar.section_begin): Phase.CALL,
            (Phase.CALL, grammar.call_begin): Phase.ID,
            (Phase.AFTER, grammar.section_end): Phase.END,
            (Phase.END, grammar.markers[Phase.END]): Phase.DONE,
        }
        if grammar.is_parallel:
            moves[Phase.AFTER, grammar.call_begin] = Phase.ID
        target = moves.get((phase, token_id))
        return None if target is None else _State(target, index, b"", None, False)

    def _after_id(self, state: _State, token_id: int) -> _State | None:
        grammar = self._grammar
        if token_id == grammar.argument_begin:
            name = grammar.call_ids.complete_name(state.typed, state.call_index)
            if name is None:
                return None
            arguments = grammar.arguments[name].matcher((grammar.call_end,))
            return _State(Phase.ARGUMENTS, state.call_index, b"", arguments, False)
        if token_id >= self._masks.num_ranks:
            return None
        typed = state.typed + self._masks.token_bytes[token_id]
        if not grammar.call_ids.is_prefix(typed, state.call_index):
            return None
        return _State(Phase.ID, state.call_index, typed, None, False)

    def _after_text(self, state: _State, token_id: int, end: Phase) -> _State | None:
        """Return the state after a token of the arguments or of an answer, which `end` follows."""
        text = state.text
        if text is None or not text.accept(token_id):
            return None
        if not text.is_terminated():
            return _State(state.phase, state.call_index, b"", text, True)
        num_calls = 1 if end is Phase.AFTER else 0
        return _State(end, state.call_index + num_calls, b"", text, True)
