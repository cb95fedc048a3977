"""One text held to a JSON schema's grammar: a call's arguments, or a formatted answer.

The grammar says what may come. This adds the end: the text is always complete in the room there
is. An upper bound of the tokens that a close takes is kept; where it comes near the room an exact
close is looked for (`json_close`); where even that comes near, only text goes on that doesn't
lengthen it, and at last only the close itself.
"""

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from .json_text_state import OUTSIDE, TextState
from .masks import STRUCTURE_LEVELS, Bitmask, Mask

if TYPE_CHECKING:
    from .json_grammar import JsonGrammar

logger = logging.getLogger(__name__)

MAX_ROLLBACK = 1024
"""Tokens that can be taken back; speculative decoding takes back tens."""
_SLACK = 3
_FORCE_ROOM = 18
_RETRY_TOKENS = 32
_UNCHECKED = 1 << 60
_MAX_SEEN_TEXT = 512
_MAX_BLANKS = 168


class _State(NamedTuple):
    place: TextState
    bound: int
    """No close from here is longer, in tokens; the stop token is counted."""
    plan: tuple[int, ...]
    """The last close that was found, from where it was followed to; without the stop token."""
    is_exact: bool
    """Whether the plan is a close from here."""
    retry_at: int
    """Number of tokens before which no close is looked for again: the last search failed."""
    checked_room: int
    """Tokens there were beside the close when it was last known exactly."""


class JsonMatcher:
    """The state of one text. Made by `JsonGrammar.matcher`."""

    def __init__(self, grammar: "JsonGrammar", stop_ids: tuple[int, ...]) -> None:
        self._grammar = grammar
        self._masks = grammar.masks
        self._stop_ids = stop_ids
        self._matcher = grammar.start()
        self._token_ids: list[int] = []
        self._is_terminated = False
        self._is_lost = False
        plan = grammar.shortest or ()
        self._state = _State(OUTSIDE, len(plan) + 1, plan, bool(plan), 0, _UNCHECKED)
        self._undo: deque[_State] = deque(maxlen=MAX_ROLLBACK)

    def is_terminated(self) -> bool:
        """Return whether a stop token was accepted."""
        return self._is_terminated

    def is_complete(self) -> bool:
        """Return whether the text may end here."""
        return self._is_lost or bool(self._matcher.is_accepting())

    def accept(self, token_id: int) -> bool:
        """Take one token; return False, and stay, if the grammar doesn't allow it."""
        if self._is_terminated:
            return False
        if token_id in self._stop_ids:
            if not self.is_complete():
                return False
            self._undo.append(self._state)
            self._is_terminated = True
            return True
        if token_id >= self._masks.num_ranks or not self._take(token_id):
            return False
        self._undo.append(self._state)
        self._state = self._after(self._state, token_id)
        self._token_ids.append(token_id)
        self._grammar.num_taken += 1
        return True

    def rollback(self, num_tokens: int) -> None:
        """Take back the last tokens. Raises ValueError if so many aren't kept."""
        if num_tokens > len(self._undo):
            raise ValueError(f"num_tokens: got {num_tokens}, want at most {len(self._undo)}")
        if num_tokens == 0:
            return
        for _ in range(num_tokens):
            self._state = self._undo.pop()
        num_text = num_tokens - self._is_terminated
        self._is_terminated = False
        if num_text:
            del self._token_ids[-num_text:]
            if not self._is_lost and not self._matcher.rollback(num_text):
                self._restart()

    def fill(self, bitmask: Bitmask, row: int, num_left: int | None) -> None:
        """Write the allowed next tokens into a row.

        num_left: tokens there are, this text's stop token included; None = no limit known.
        """
        mask = bitmask[row]
        words = mask.numpy()
        is_complete = self._fill_text(mask, words)
        if is_complete:
            for stop_id in self._stop_ids:
                _set(words, stop_id)
        if num_left is not None and self._grammar.shortest is not None and not self._is_lost:
            self._fit(words, num_left)

    def _fill_text(self, mask: Mask, words: Any) -> bool:
        """Write what the grammar allows; return whether the text may end here."""
        end_id = self._masks.stop_ids[0]
        num_words = self._masks.num_text_words
        if self._is_terminated or self._is_lost:
            words[:] = 0
            return True
        words[num_words:] = 0
        self._matcher.unsafe_compute_mask_ptr(mask.data_ptr(), 4 * num_words)
        if self._matcher.is_error():
            self._restart()
            if self._is_lost:
                return self._fill_text(mask, words)
            self._matcher.unsafe_compute_mask_ptr(mask.data_ptr(), 4 * num_words)
        bit = 1 << (end_id & 31)
        is_complete = bool(int(words[end_id >> 5]) & bit)
        if is_complete:
            words[end_id >> 5] &= _signed(~bit & 0xFFFFFFFF)
        return is_complete

    def _take(self, token_id: int) -> bool:
        if self._is_lost:
            return True
        if self._matcher.try_consume_tokens([token_id]) == 1:
            return True
        if not self._matcher.is_error():
            return False
        self._restart()
        return self._is_lost or bool(self._matcher.try_consume_tokens([token_id]) == 1)

    def _restart(self) -> None:
        """Go on with a new matcher where the old one met a limit."""
        logger.warning("A grammar met a limit and is compiled anew: %s", self._matcher.get_error())
        matcher = self._grammar.restart(self._token_ids)
        if matcher is None:
            logger.error("A text can't be held to its grammar any more; it ends here")
            self._is_lost = True
        else:
            self._matcher = matcher

    def _after(self, state: _State, token_id: int) -> _State:
        data = self._masks.token_bytes[token_id]
        place = state.place.after(data)
        if state.is_exact and state.plan and state.plan[0] == token_id:
            return state._replace(place=place, plan=state.plan[1:], bound=state.bound - 1)
        growth = 2
        if not (state.place.is_string and place.is_string and b'"' not in data):
            growth += self._grammar.growth * self._masks.structure[token_id]
        return state._replace(place=place, bound=state.bound + growth, is_exact=False)

    def _fit(self, words: Any, num_left: int) -> None:
        """Restrict a mask to what leaves room for a close.

        A token lengthens the close by one `growth` at most, or one for each `{ [ , :` in it.
        """
        growth = self._grammar.growth
        if self._needs_plan(num_left - self._state.bound - _SLACK):
            self._replan(num_left)
        state = self._state
        room = num_left - state.bound - _SLACK
        if state.is_exact and room < growth:
            self._close(words, room)
        else:
            self._limit_structure(words, max(0, room // growth))

    def _needs_plan(self, room: int) -> bool:
        """Return whether the bound's room is too small to go on without the exact close.

        A bound grows faster than the close, so it is checked before it limits anything; while
        the exact room shrinks, again at every halving.
        """
        state, growth = self._state, self._grammar.growth
        if state.is_exact or len(self._token_ids) < state.retry_at:
            return False
        is_limiting = room < growth * (STRUCTURE_LEVELS[-1] + 1)
        return room < 2 * growth or (is_limiting and 2 * room <= state.checked_room)

    def _replan(self, num_left: int) -> None:
        state, finder = self._state, self._grammar.finder
        plan: tuple[int, ...] | None = state.plan
        if not finder.is_close(self._matcher, state.plan):
            plan = finder.find(self._matcher, self._tail(), state.place)
        if plan is None:
            self._state = state._replace(retry_at=len(self._token_ids) + _RETRY_TOKENS)
            return
        bound = len(plan) + 1
        self._state = state._replace(
            bound=bound, plan=plan, is_exact=True, checked_room=num_left - bound - _SLACK
        )

    def _tail(self) -> bytes:
        """Return what `CloseFinder.find` asks for: the begun string's text, or the last byte."""
        num_bytes = self._state.place.num_bytes
        if not self._state.place.is_string:
            last = b"".join(
                map(self._masks.token_bytes.__getitem__, self._token_ids[-_MAX_BLANKS:])
            )
            return last.rstrip(b" \t\r\n")[-1:]
        if not 0 < num_bytes <= _MAX_SEEN_TEXT:  # nothing that is known is so long
            return b""
        last = b"".join(map(self._masks.token_bytes.__getitem__, self._token_ids[-num_bytes - 1 :]))
        return last[-num_bytes:]

    def _close(self, words: Any, room: int) -> None:
        """Leave the close, and text of a free string while there is room for it."""
        plan = self._state.plan
        close = plan[0] if plan else self._stop_ids[0]
        plain = self._masks.plain_text.numpy()
        is_free = room > _FORCE_ROOM and self._may_write_on(close)
        if is_free and ((words & plain) == plain).all():
            words &= plain
        else:
            words[:] = 0
        _set(words, close)

    def _may_write_on(self, close: int) -> bool:
        """Return whether the close ends a string, so that plain text before it changes nothing."""
        is_text = self._state.place.is_string and close < self._masks.num_ranks
        return is_text and self._masks.token_bytes[close].startswith(b'"')

    def _limit_structure(self, words: Any, limit: int) -> None:
        """Keep one token from opening more than the room can close."""
        if limit >= STRUCTURE_LEVELS[-1]:
            return
        level = max(level for level in STRUCTURE_LEVELS if level <= limit)
        allowed = self._masks.at_most_structure[level].numpy()
        if self._state.place.is_string:  # there a comma is text
            allowed = allowed | self._masks.plain_text.numpy()
        narrowed = words & allowed
        if narrowed.any():
            words[:] = narrowed


def _set(words: Any, token_id: int) -> None:
    words[token_id >> 5] |= _signed(1 << (token_id & 31))


def _signed(word: int) -> int:
    """Return a word of 32 bits as the signed number that the arrays hold."""
    return word - (1 << 32) if word >= 1 << 31 else word
