"""The shortest way out of a JSON text: tokens that bring its grammar to an end.

Greedy, so short but not proven shortest: what the grammar forces, then texts that are known to
complete something, then closing characters. Where greed finds nothing a few seeded random walks
are tried. Every walk goes over a copy.
"""

import random
from typing import Any

from .json_text_state import OUTSIDE, TextState
from .masks import MaskVocabulary

_CLOSERS = (b"}", b"]", b",", b":")
_VALUES = (
    *(b"0", b'""', b"null", b"true", b"false", b"[]", b"{}", b"1", b"2", b"3", b"4", b"5", b"6"),
    *(b"7", b"8", b"9", b'"', b"{", b"[", b"-", b".", b"e", b"n", b"t", b"f"),
)
_MAX_STEPS = 1024
_MAX_TEXTS = 64


class CloseFinder:
    """Finds closes for one grammar.

    hints: JSON texts that complete some terminal of it. shortest: a short instance: the keys in it
    are tried first.
    """

    def __init__(self, masks: MaskVocabulary, hints: tuple[str, ...], shortest: str | None) -> None:
        self._masks = masks
        self._stop_id = masks.stop_ids[0]
        ordered = sorted(
            hints, key=lambda hint: (f"{hint}:" not in (shortest or ""), len(hint), hint)
        )
        self._hints = [hint.encode() for hint in ordered]

    def is_close(self, matcher: Any, tokens: tuple[int, ...]) -> bool:
        """Return whether the tokens end the matcher's text."""
        return bool(matcher.validate_tokens([*tokens, self._stop_id]) == len(tokens) + 1)

    def find(
        self, matcher: Any, text: bytes, state: TextState = OUTSIDE, *, num_walks: int = 2
    ) -> tuple[int, ...] | None:
        """Return tokens that end the text, without a stop token; None if no end is found.

        matcher: an LLMatcher, left as it came. text: what the string that `state` stands in holds
        so far. num_walks: how many random walks to try when the greedy way finds no end.
        """
        for walk in range(num_walks + 1):
            rng = random.Random(walk) if walk else None
            found = _Walk(self._masks, self._hints, matcher.deep_copy(), state, text, rng).run()
            if found is not None:
                return tuple(found)
        return None


class _Walk:
    """One way out, over a copy of its own."""

    def __init__(
        self,
        masks: MaskVocabulary,
        hints: list[bytes],
        matcher: Any,
        state: TextState,
        text: bytes,
        rng: random.Random | None,
    ) -> None:
        self._masks = masks
        self._hints = hints
        self._matcher = matcher
        self._state = state
        self._text = text
        self._rng = rng
        self._found: list[int] = []

    def run(self) -> list[int] | None:
        for _ in range(_MAX_STEPS):
            if self._matcher.is_accepting():
                return self._found
            if not self._step():
                return None
        return None

    def _step(self) -> bool:
        forced = self._matcher.compute_ff_bytes()
        if forced:
            return self._take(self._masks.tokens(forced))
        if self._state.is_string:
            return self._step_in_string()
        return self._step_outside()

    def _step_outside(self) -> bool:
        texts = [*_CLOSERS, *self._hints[:_MAX_TEXTS], *_VALUES]
        if self._rng is not None:
            self._rng.shuffle(texts)
        return any(self._take(self._masks.tokens(text)) for text in texts) or self._any_step()

    def _step_in_string(self) -> bool:
        begun = b'"' + self._text
        rests = [b'"', *(hint[len(begun) :] for hint in self._hints if hint.startswith(begun))]
        rests += [hint[1:] for hint in self._hints[:_MAX_TEXTS] if hint.startswith(b'"')]
        if self._rng is not None:
            self._rng.shuffle(rests)
        return any(self._take(self._masks.tokens(rest)) for rest in rests if rest) or (
            any(self._take([token_id]) for token_id in self._fillers()) or self._any_step()
        )

    def _take(self, token_ids: list[int]) -> bool:
        """Take all of these tokens or none of them."""
        if self._matcher.validate_tokens(token_ids) != len(token_ids):
            return False
        if self._matcher.try_consume_tokens(token_ids) != len(token_ids):
            return False
        for token_id in token_ids:
            data = self._masks.token_bytes[token_id]
            self._state = self._state.after(data)
            num_bytes = self._state.num_bytes
            self._text = (self._text + data)[-num_bytes:] if num_bytes else b""
        self._found += token_ids
        return True

    def _any_step(self) -> bool:
        """Take the shortest of all allowed tokens: rare text, such as a pattern's letters."""
        import numpy as np

        mask = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.flatnonzero(np.unpackbits(mask, bitorder="little"))
        ordinary = [int(i) for i in allowed if i < self._masks.num_ranks]
        if self._rng is not None and ordinary:
            return self._take([self._rng.choice(ordinary)])
        shortest = min(ordinary, key=lambda i: len(self._masks.token_bytes[i]), default=None)
        return shortest is not None and self._take([shortest])

    def _fillers(self) -> list[int]:
        fillers = self._masks.fillers
        return fillers if self._rng is None else self._rng.sample(fillers, len(fillers))
