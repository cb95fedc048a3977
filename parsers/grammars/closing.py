"""The shortest way out: tokens that bring a grammar to its end from where it stands.

Greedy, so short but not proven shortest: what the grammar forces, else the end of the string,
else the first of a fixed order of closing and cheap tokens. Where greed runs in circles a few
seeded random walks are tried.
"""

import random
from functools import cached_property
from typing import Any

from . import json_lexer
from .masks import MaskVocabulary

_CLOSERS = b'}],:0123456789"'
_OPENERS = (b"null", b"true", b"false", b"n", b"t", b"f", b"[", b"{", b"-", b".")
_FILLER_LENGTHS = (64, 32, 16, 8, 4, 2, 1)
_MAX_STEPS = 1024


class CloseFinder:
    """Finds closes for the grammars of one vocabulary; holds the candidates in order."""

    def __init__(self, masks: MaskVocabulary) -> None:
        self._masks = masks

    def find(
        self,
        matcher: Any,
        position: json_lexer.Position,
        stop_id: int,
        *,
        num_walks: int = 2,
    ) -> tuple[int, ...] | None:
        """Return tokens, the last one `stop_id`, that end the matcher's grammar; None if unknown.

        matcher: an xgrammar.GrammarMatcher, left as it came. position: where its JSON text stands.
        num_walks: how many random walks to try when the greedy way finds no end.
        """
        for walk in range(num_walks + 1):
            rng = random.Random(walk) if walk else None
            tokens, is_closed = self._walk(matcher, position, rng)
            if tokens:
                matcher.rollback(len(tokens))
            if is_closed:
                return (*tokens, stop_id)
        return None

    def _walk(
        self, matcher: Any, position: json_lexer.Position, rng: random.Random | None
    ) -> tuple[list[int], bool]:
        tokens: list[int] = []
        while not matcher.is_completed():
            if len(tokens) == _MAX_STEPS:
                return tokens, False
            step = self._step(matcher, position, rng)
            if step is None:
                return tokens, False
            tokens.append(step[0])
            position = step[1]
        return tokens, True

    def _step(
        self, matcher: Any, position: json_lexer.Position, rng: random.Random | None
    ) -> tuple[int, json_lexer.Position] | None:
        """Accept one token; return it with the position after it, None if nothing fits."""
        for token_id in self._candidates(matcher, position, rng):
            after = json_lexer.advance(position, self._masks.token_bytes[token_id])
            if after.state != json_lexer.REFUSED and matcher.accept_token(token_id):
                return token_id, after
        return self._any_step(matcher, position)

    def _candidates(
        self, matcher: Any, position: json_lexer.Position, rng: random.Random | None
    ) -> list[int]:
        forced = self._masks.longest_prefix(_forced_bytes(matcher))
        first = [] if forced is None else [forced]
        rest = self._in_string if position.state == json_lexer.STRING else self._outside
        if rng is not None:
            rest = rng.sample(rest, len(rest))
        return first + rest

    def _any_step(
        self, matcher: Any, position: json_lexer.Position
    ) -> tuple[int, json_lexer.Position] | None:
        """Accept the shortest of all allowed tokens: rare text, such as a pattern's letters."""
        import numpy as np
        import torch

        bitmask = torch.zeros((1, self._masks.num_words), dtype=torch.int32)
        matcher.fill_next_token_bitmask(bitmask, 0)
        row = bitmask[0] & self._masks.lexer_masks[position.state] & self._masks.ordinary
        flags = np.unpackbits(row.numpy().view(np.uint8), bitorder="little")
        for token_id in sorted(np.flatnonzero(flags).tolist(), key=self._length)[:1]:
            if matcher.accept_token(token_id):
                return token_id, json_lexer.advance(position, self._masks.token_bytes[token_id])
        return None

    def _length(self, token_id: int) -> int:
        return len(self._masks.token_bytes[token_id])

    def _ids(self, texts: list[bytes]) -> list[int]:
        return [
            self._masks.ids_by_bytes[text] for text in texts if text in self._masks.ids_by_bytes
        ]

    @cached_property
    def _outside(self) -> list[int]:
        letters = [bytes([byte]) for byte in range(0x20, 0x7F)]
        closers = [bytes([byte]) for byte in _CLOSERS]
        return self._ids(list(dict.fromkeys([*closers, *_OPENERS, *letters])))

    @cached_property
    def _in_string(self) -> list[int]:
        """The quote, then fillers of falling length for strings that must be long, then ASCII."""
        fillers: dict[int, int] = {}
        for token_id, data in enumerate(self._masks.token_bytes):
            if data.isalpha() and data.isascii():
                fillers.setdefault(len(data), token_id)
        ordered = [fillers[length] for length in _FILLER_LENGTHS if length in fillers]
        digits_first = sorted(range(0x20, 0x7F), key=lambda byte: not 0x30 <= byte <= 0x39)
        return self._ids([b'"']) + ordered + self._ids([bytes([byte]) for byte in digits_first])


def _forced_bytes(matcher: Any) -> bytes:
    try:
        return str(matcher.find_jump_forward_string()).encode()
    except UnicodeDecodeError:  # xgrammar decodes what may end inside a character
        return b""
