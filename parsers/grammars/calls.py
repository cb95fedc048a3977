"""Tool calls as a body: content, section, id, arguments, next call, end.

    CONTENT -> SECTION -> ID -> ARGUMENTS -> AFTER -> (ID ...) -> END -> stop token

The markers, ids and indices are masks made here; only the arguments go through xgrammar, a fresh
matcher for every call, so that no grammar holds an index. A forced call has no content: the
section follows the thinking at once.
"""

from collections import deque
from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

from ..vocabulary import (
    ARGUMENT_BEGIN,
    CALL_BEGIN,
    CALL_END,
    SECTION_BEGIN,
    SECTION_END,
    TURN_END,
)
from .bodies import Body
from .call_ids import CallIds
from .masks import Bitmask, Mask, MaskVocabulary
from .text_matcher import MAX_ROLLBACK, TextGrammar, TextMatcher

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
    is_parallel: more than one call may come.
    """

    may_think_again = False

    def __init__(
        self,
        masks: MaskVocabulary,
        arguments: Mapping[str, TextGrammar],
        *,
        is_forced: bool,
        is_parallel: bool,
    ) -> None:
        control_id = masks.vocabulary.control_id
        self.masks = masks
        self.arguments = dict(arguments)
        self.is_forced = is_forced
        self.is_parallel = is_parallel
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
            phase: masks.mask([marker]) for phase, marker in self.markers.items()
        }
        self.content_mask = masks.ordinary | masks.mask(masks.stop_ids)

    @property
    def num_reserved(self) -> int:
        """Return the tokens of the longest of the tools' shortest calls; 0 if none is forced."""
        if not self.is_forced:
            return 0
        return max(map(self.num_shortest_call, self.arguments)) + _NUM_OPENING + _NUM_ENDING

    def num_shortest_call(self, name: str) -> int:
        """Return the tokens of a tool's shortest call: id, arguments, call end."""
        # Six digits are room for any index.
        id_tokens = self.masks.num_tokens(f"functions.{name}:".encode()) + 6
        return id_tokens + self.arguments[name].num_shortest + 1

    def body(self, start_index: int) -> Body:
        """Return a body before its first token; start_index: the first call's index."""
        return CallsBody(self, start_index)


class _State(NamedTuple):
    phase: Phase
    call_index: int
    """Index of the next call to be begun or of the one in the making."""
    typed: bytes
    """The part of the id that is written."""
    arguments: TextMatcher | None
    is_argument: bool
    """Whether the token that led here went to the arguments."""


class CallsBody:
    """The state of one answer's calls. Made by `ToolCallGrammar.body`."""

    def __init__(self, grammar: ToolCallGrammar, start_index: int) -> None:
        self._grammar = grammar
        self._masks = grammar.masks
        self._start_index = start_index
        phase = Phase.SECTION if grammar.is_forced else Phase.CONTENT
        self._state = _State(phase, start_index, b"", None, False)
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
            if self._state.is_argument and self._state.arguments is not None:
                self._state.arguments.rollback(1)
            self._state = self._undo.pop()

    def fill(self, bitmask: Bitmask, row: int, num_left: int | None) -> None:
        """Write the allowed next tokens into a row."""
        state, grammar = self._state, self._grammar
        if state.phase is Phase.ARGUMENTS and state.arguments is not None:
            room = None if num_left is None else num_left - _NUM_ENDING
            state.arguments.fill(bitmask, row, room)
        elif state.phase is Phase.ID:
            bitmask[row].copy_(self._id_mask(num_left))
        elif state.phase is Phase.CONTENT:
            bitmask[row].copy_(self._content_mask(num_left))
        elif state.phase is Phase.AFTER:
            bitmask[row].copy_(self._masks.mask(self._after_ids(num_left)))
        else:
            phase = Phase.END if state.phase is Phase.DONE else state.phase
            bitmask[row].copy_(grammar.marker_masks[phase])

    def _content_mask(self, num_left: int | None) -> Mask:
        grammar = self._grammar
        if num_left is not None and num_left < self._num_needed(_NUM_OPENING):
            return grammar.content_mask
        return grammar.content_mask | grammar.marker_masks[Phase.SECTION]

    def _after_ids(self, num_left: int | None) -> list[int]:
        grammar = self._grammar
        is_short = num_left is not None and num_left < self._num_needed(_NUM_AFTER_CALL)
        if is_short or not grammar.is_parallel:
            return [grammar.section_end]
        return [grammar.section_end, grammar.call_begin]

    def _num_needed(self, num_more: int) -> int:
        """Return the tokens that the shortest call, the section's end and `num_more` take."""
        shortest = min(map(self._grammar.num_shortest_call, self._grammar.arguments))
        return shortest + _NUM_ENDING + num_more

    def _id_mask(self, num_left: int | None) -> Mask:
        state, grammar = self._state, self._grammar
        room = None if num_left is None else num_left - _NUM_ENDING
        costs = {name: text.num_shortest + 1 for name, text in grammar.arguments.items()}
        token_ids = grammar.call_ids.next_ids(state.typed, state.call_index, costs, room)
        name = grammar.call_ids.complete_name(state.typed, state.call_index)
        if name is not None:
            token_ids = [*token_ids, grammar.argument_begin]
        return self._masks.mask(token_ids)

    def _after(self, state: _State, token_id: int) -> _State | None:
        """Return the state after a token, None if it isn't allowed."""
        grammar = self._grammar
        phase, index = state.phase, state.call_index
        if phase is Phase.ARGUMENTS:
            return self._after_argument(state, token_id)
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

    def _after_argument(self, state: _State, token_id: int) -> _State | None:
        arguments = state.arguments
        if arguments is None or not arguments.accept(token_id):
            return None
        if arguments.is_terminated():
            return _State(Phase.AFTER, state.call_index + 1, b"", arguments, True)
        return _State(Phase.ARGUMENTS, state.call_index, b"", arguments, True)
