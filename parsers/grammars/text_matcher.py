"""One text held to a compiled xgrammar grammar: a call's arguments, or a formatted answer.

Beside the grammar it bounds runs of blanks and digits in JSON, keeps UTF-8 and escapes valid
(`json_lexer`), and ends the text in the room there is: it keeps an upper bound of the tokens a
close takes, allows only text that doesn't lengthen it when the room gets short, and at last only
the close itself (`closing`).
"""

from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from . import json_lexer
from .closing import CloseFinder
from .masks import STRUCTURE_LEVELS, Bitmask, Mask, MaskVocabulary, is_allowed

MAX_ROLLBACK = 1024
"""Tokens that can be taken back; speculative decoding takes back tens."""
_SLACK = 3
# A token inside a string may commit to a longer enum value or pattern branch than the close's.
_FORCE_ROOM = 18
_RETRY_TOKENS = 64
_UNCHECKED = 1 << 60


@dataclass(frozen=True)
class TextGrammar:
    """A compiled grammar with what its matchers share.

    compiled: xgrammar.CompiledGrammar. shortest: tokens of a short complete text without its stop
    token, None if none was found. growth: tokens by which one `{ [ , :` may lengthen the close.
    hints: texts that end some of its strings, for `CloseFinder.find`.
    """

    masks: MaskVocabulary
    finder: CloseFinder
    compiled: Any
    is_json: bool
    shortest: tuple[int, ...] | None
    growth: int
    hints: tuple[bytes, ...] = ()

    @property
    def num_shortest(self) -> int:
        """Return the number of tokens of the shortest known text, 0 if none is known."""
        return 0 if self.shortest is None else len(self.shortest)

    def matcher(self, stop_ids: tuple[int, ...]) -> "TextMatcher":
        """Return a matcher at the start of the text, which ends by one of `stop_ids`."""
        return TextMatcher(self, stop_ids)


class _State(NamedTuple):
    position: json_lexer.Position
    num_tokens: int
    bound: int
    """No close from here is longer, in tokens."""
    plan: tuple[int, ...]
    """An exact close, or empty if only the bound is known."""
    retry_at: int
    """Number of tokens before which no close is looked for again: the last search failed."""
    checked_room: int
    """Tokens there were beside the close when it was last known exactly."""


class TextMatcher:
    """The state of one text. Made by `TextGrammar.matcher`."""

    def __init__(self, grammar: TextGrammar, stop_ids: tuple[int, ...]) -> None:
        from xgrammar import GrammarMatcher

        self._grammar = grammar
        self._masks = grammar.masks
        self._stop_ids = stop_ids
        self._matcher = GrammarMatcher(grammar.compiled, override_stop_tokens=list(stop_ids))
        plan = () if grammar.shortest is None else (*grammar.shortest, stop_ids[0])
        self._state = _State(json_lexer.START, 0, len(plan), plan, 0, _UNCHECKED)
        self._undo: deque[_State] = deque(maxlen=MAX_ROLLBACK)

    def is_terminated(self) -> bool:
        """Return whether a stop token was accepted."""
        return bool(self._matcher.is_terminated())

    def accept(self, token_id: int) -> bool:
        """Take one token; return False, and stay, if the grammar doesn't allow it."""
        if not self._matcher.accept_token(token_id):
            return False
        state = self._state
        self._undo.append(state)
        position = state.position
        growth = 2
        if token_id < self._masks.num_ranks:
            position = json_lexer.advance(position, self._masks.token_bytes[token_id])
            growth += self._grammar.growth * self._masks.structure[token_id]
        follows_plan = bool(state.plan) and state.plan[0] == token_id
        plan = state.plan[1:] if follows_plan else ()
        bound = len(plan) if follows_plan else state.bound + growth
        self._state = state._replace(
            position=position, num_tokens=state.num_tokens + 1, bound=bound, plan=plan
        )
        return True

    def rollback(self, num_tokens: int) -> None:
        """Take back the last tokens. Raises ValueError if so many aren't kept."""
        if num_tokens > len(self._undo):
            raise ValueError(f"num_tokens: got {num_tokens}, want at most {len(self._undo)}")
        if num_tokens:
            self._matcher.rollback(num_tokens)
        for _ in range(num_tokens):
            self._state = self._undo.pop()

    def fill(self, bitmask: Bitmask, row: int, num_left: int | None) -> None:
        """Write the allowed next tokens into a row.

        num_left: tokens there are, this text's stop token included; None = no limit known.
        """
        self._matcher.fill_next_token_bitmask(bitmask, row)
        mask = bitmask[row]
        if self._grammar.is_json:
            self._bound_text(mask)
        if num_left is not None and self._grammar.is_json:
            self._fit(mask, num_left)

    def _bound_text(self, mask: Mask) -> None:
        position = self._state.position
        _narrow(mask, self._masks.lexer_masks[position.state])
        if position.num_blanks >= json_lexer.MAX_BLANKS:
            _narrow(mask, self._masks.starts_without_blank)
        if position.num_digits >= json_lexer.MAX_DIGITS:
            _narrow(mask, self._masks.starts_without_digit)

    def _fit(self, mask: Mask, num_left: int) -> None:
        growth = self._grammar.growth
        if not self._state.plan and self._needs_plan(num_left - self._state.bound - _SLACK):
            self._replan(num_left)
        state = self._state
        room = num_left - state.bound - _SLACK
        if room > growth or not state.plan:
            self._limit_structure(mask, room)
            return
        close = state.plan[0]
        was_allowed = is_allowed(mask, close)
        if room > _FORCE_ROOM and self._may_write_on(close):
            mask &= self._masks.plain_text
        elif was_allowed:
            mask.zero_()
        if was_allowed:
            mask[close >> 5] |= _bit(close)

    def _needs_plan(self, room: int) -> bool:
        """Return whether the bound's room is too small to go on without the exact close.

        A bound grows faster than the close, so it is checked before it limits anything; while
        the exact room shrinks, again at every halving.
        """
        growth = self._grammar.growth
        is_limiting = room < growth * (STRUCTURE_LEVELS[-1] + 1)
        return room <= growth or (is_limiting and 2 * room <= self._state.checked_room)

    def _may_write_on(self, close: int) -> bool:
        """Return whether plain text leaves the close as it is: in a string that may end now."""
        if self._state.position.state != json_lexer.STRING or close >= self._masks.num_ranks:
            return False
        return self._masks.token_bytes[close].startswith(b'"')

    def _limit_structure(self, mask: Mask, room: int) -> None:
        """Keep one token from opening more than the room can close."""
        limit = max(0, room // self._grammar.growth - 1)
        if limit < STRUCTURE_LEVELS[-1]:
            level = max(level for level in STRUCTURE_LEVELS if level <= limit)
            _narrow(mask, self._masks.at_most_structure[level])

    def _replan(self, num_left: int) -> None:
        state = self._state
        if state.num_tokens < state.retry_at:
            return
        plan = self._grammar.finder.find(
            self._matcher, state.position, self._stop_ids[0], hints=self._grammar.hints
        )
        if plan is None:
            self._state = state._replace(retry_at=state.num_tokens + _RETRY_TOKENS)
        else:
            room = num_left - len(plan) - _SLACK
            self._state = state._replace(bound=len(plan), plan=plan, checked_room=room)


def _narrow(mask: Mask, allowed: Mask) -> None:
    """Restrict a mask unless nothing would be left: a bound never ends in a dead end."""
    narrowed = mask & allowed
    if narrowed.any():
        mask.copy_(narrowed)


def _bit(token_id: int) -> int:
    """Return the word with an id's bit, as a signed 32-bit number."""
    bit = 1 << (token_id & 31)
    return bit - (1 << 32) if bit >= 1 << 31 else bit
