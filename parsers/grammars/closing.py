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
        hints: tuple[bytes, ...] = (),
        num_walks: int = 2,
    ) -> tuple[int, ...] | None:
        """Return tokens, the last one `stop_id`, that end the matcher's grammar; None if unknown.

        matcher: an xgrammar.GrammarMatcher, left as it came. position: where its JSON text stands.
        hints: texts that end some of the grammar's strings, such as a match of each pattern.
        num_walks: how many random walks to try when the greedy way finds no end.
        """
        for walk in range(num_walks + 1):
            rng = random.Random(walk) if walk else None
            tokens, is_closed = self._walk(matcher, position, hints, rng)
            if tokens:
                matcher.rollback(len(tokens))
            if is_closed:
                return (*tokens, stop_id)
        return None

    def _walk(
        self,
        matcher: Any,
        position: json_lexer.Position,
        hints: tuple[bytes, ...],
        rng: random.Random | None,
    ) -> tuple[list[int], bool]:
        tokens: list[int] = []
        while not matcher.is_completed():
            if len(tokens) >= _MAX_STEPS:
                return tokens, False
            step = self._hinted_step(matcher, position, hints) or self._step(matcher, position, rng)
            if not step:
                return tokens, False
            tokens += step
            for token_id in step:
                position = json_lexer.advance(position, self._masks.token_bytes[token_id])
        return tokens, True

    def _hinted_step(
        self, matcher: Any, position: json_lexer.Position, hints: tuple[bytes, ...]
    ) -> list[int]:
        """Accept the first of: nothing, a hint; each with the closing quote. Empty if none fits."""
        if position.state != json_lexer.STRING:
            return []
        for hint in (b"", *hints):
            tokens: list[int] = []
            for token_id in self._masks.tokens(hint + b'"'):
                if not matcher.accept_token(token_id):
                    break
                tokens.append(token_id)
            else:
                return tokens
            if tokens:
                matcher.rollback(len(tokens))
        return []

    def _step(
        self, matcher: Any, position: json_lexer.Position, rng: random.Random | None
    ) -> list[int]:
        """Accept one token; return it, nothing if none fits."""
        for token_id in self._candidates(matcher, position, rng):
            after = json_lexer.advance(position, self._masks.token_bytes[token_id])
            if after.state != json_lexer.REFUSED and matcher.accept_token(token_id):
                return [token_id]
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

    def _any_step(self, matcher: Any, position: json_lexer.Position) -> list[int]:
        """Accept the shortest of all allowed tokens: rare text, such as a pattern's letters."""
        import numpy as np
        import torch

        bitmask = torch.zeros((1, self._masks.num_words), dtype=torch.int32)
        matcher.fill_next_token_bitmask(bitmask, 0)
        row = bitmask[0] & self._masks.lexer_masks[position.state] & self._masks.ordinary
        flags = np.unpackbits(row.numpy().view(np.uint8), bitorder="little")
        token_id = min(np.flatnonzero(flags).tolist(), key=self._length, default=None)
        return [token_id] if token_id is not None and matcher.accept_token(token_id) else []

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
