"""A whole turn, token by token: the thinking and its budget, then a body.

This is the object a server drives: `fill_bitmask`, `accept_token`, `rollback`, `is_terminated`.
The thinking is counted here and nowhere else. Decisions K1 (a tool section ends the thinking for
good) and D1 (a second `<think>` goes on thinking) are those of the output parser.
"""

from collections import deque
from typing import NamedTuple

from ..vocabulary import THINK_CLOSE, THINK_OPEN
from .bodies import Body, BodyGrammar
from .json_matcher import MAX_ROLLBACK
from .masks import Bitmask

# Of a limited turn a quarter, at most this many tokens, is kept from the thinking for the body.
_MAX_RESERVE = 2048


class _State(NamedTuple):
    is_thinking: bool
    num_thinking_tokens: int
    num_tokens: int
    is_body: bool
    """Whether the token that led here went to the body."""
    is_section: bool
    """Whether a body entry (a tool section) has come: the thinking never opens again."""


class TurnMatcher:
    """The state of one request's turn.

    grammar: what follows the thinking. start_index: index of the next tool call, which is the
    number of calls in the history. thinking_budget: tokens the thinking may take before
    `</think>`; None = no budget, save that a body that needs room (a forced call) gets it out of
    max_tokens. max_tokens: tokens the turn may take, stop token included; None = not known.
    starts_in_thinking: whether the prompt ends by `<think>`.
    Raises ValueError for a negative number.
    """

    def __init__(
        self,
        grammar: BodyGrammar,
        *,
        start_index: int = 0,
        thinking_budget: int | None = None,
        max_tokens: int | None = None,
        starts_in_thinking: bool = True,
    ) -> None:
        numbers = {"start_index": start_index, "thinking_budget": thinking_budget}
        for name, number in (numbers | {"max_tokens": max_tokens}).items():
            if number is not None and number < 0:
                raise ValueError(f"{name}: got {number}, want 0 or more")
        self._grammar = grammar
        self._masks = grammar.masks
        self._start_index = start_index
        self._requested_budget = thinking_budget
        self._max_tokens = max_tokens
        self._starts_in_thinking = starts_in_thinking
        self.thinking_budget = _effective_budget(grammar, thinking_budget, max_tokens)
        vocabulary = self._masks.vocabulary
        self._think_open = vocabulary.control_id(THINK_OPEN)
        self._think_close = vocabulary.control_id(THINK_CLOSE)
        self._closing_mask = self._masks.mask([self._think_close])
        self._thinking_mask = self._masks.ordinary | self._masks.mask(
            [self._think_close, *grammar.entry_ids]
        )
        self._body: Body | None = None
        self._state = _State(starts_in_thinking, 0, 0, False, False)
        self._undo: deque[_State] = deque(maxlen=MAX_ROLLBACK)

    @property
    def num_thinking_tokens(self) -> int:
        """Return the tokens thought so far, markers not counted."""
        return self._state.num_thinking_tokens

    @property
    def is_thinking(self) -> bool:
        """Return whether the next token is thinking or ends it."""
        return self._state.is_thinking

    def copy(self) -> "TurnMatcher":
        """Return a matcher for the same request at the start of its turn."""
        return TurnMatcher(
            self._grammar,
            start_index=self._start_index,
            thinking_budget=self._requested_budget,
            max_tokens=self._max_tokens,
            starts_in_thinking=self._starts_in_thinking,
        )

    def is_terminated(self) -> bool:
        """Return whether the turn is complete, stop token included."""
        return self._body is not None and self._body.is_terminated()

    def accept_token(self, token_id: int) -> None:
        """Take the token that was sampled; after the end of the turn tokens are ignored.

        Raises ValueError if the grammar doesn't allow it; the state is then as before.
        """
        if self.is_terminated():
            return
        state = self._state
        after = self._think(state, token_id) if state.is_thinking else self._write(state, token_id)
        self._undo.append(state)
        self._state = after

    def rollback(self, num_tokens: int) -> None:
        """Take back the last tokens. Raises ValueError if more than the last 1024 (or all)."""
        if not 0 <= num_tokens <= len(self._undo):
            raise ValueError(f"num_tokens: got {num_tokens}, want 0 to {len(self._undo)}")
        num_body = 0
        for _ in range(num_tokens):
            num_body += self._state.is_body
            self._state = self._undo.pop()
        if self._body is not None:
            self._body.rollback(num_body)

    def fill_bitmask(self, bitmask: Bitmask, row: int = 0) -> None:
        """Write the allowed next tokens into a row of `bitmask` (set bit = allowed)."""
        state = self._state
        if not state.is_thinking:
            self._opened_body().fill(bitmask, row, self._num_left())
        elif self.thinking_budget is None or state.num_thinking_tokens < self.thinking_budget:
            bitmask[row].copy_(self._thinking_mask)
        else:
            bitmask[row].copy_(self._closing_mask)

    def _num_left(self) -> int | None:
        if self._max_tokens is None:
            return None
        return max(0, self._max_tokens - self._state.num_tokens)

    def _opened_body(self) -> Body:
        if self._body is None:
            self._body = self._grammar.body(self._start_index)
        return self._body

    def _think(self, state: _State, token_id: int) -> _State:
        if token_id in self._grammar.entry_ids:
            return self._write(state, token_id)
        num_thinking = state.num_thinking_tokens
        is_closed = token_id == self._think_close
        if not is_closed and token_id != self._think_open:
            num_thinking += 1
        return _State(not is_closed, num_thinking, state.num_tokens + 1, False, state.is_section)

    def _write(self, state: _State, token_id: int) -> _State:
        opens = token_id == self._think_open and self._grammar.may_think_again
        if opens and not state.is_section:
            return _State(True, state.num_thinking_tokens, state.num_tokens + 1, False, False)
        self._opened_body().accept(token_id)
        is_section = state.is_section or token_id in self._grammar.entry_ids
        return _State(False, state.num_thinking_tokens, state.num_tokens + 1, True, is_section)


def _effective_budget(
    grammar: BodyGrammar, thinking_budget: int | None, max_tokens: int | None
) -> int | None:
    """Return the smaller of the asked budget and what the body leaves of max_tokens."""
    if max_tokens is None or not grammar.num_reserved:
        return thinking_budget
    reserve = max(grammar.num_reserved, min(_MAX_RESERVE, max_tokens // 4))
    room = max(0, max_tokens - reserve - 1)  # 1 for `</think>`
    return room if thinking_budget is None else min(thinking_budget, room)
