"""Token masks over one vocabulary: rows of bits, set = allowed, as SGLang and xgrammar use them.

A mask is an int32 tensor [ceil(vocab_size / 32)]; id i is bit i % 32 of word i // 32. Everything
here depends on the vocabulary alone, is made on first use and kept; a vocabulary of 163,840 ids
costs 20 KB a mask.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, TypeAlias

from ..vocabulary import EOS, TURN_END, TokenVocabulary
from . import json_lexer

Mask: TypeAlias = Any
"""torch.Tensor int32 [ceil(vocab_size / 32)]; torch isn't imported at module level here."""
Bitmask: TypeAlias = Any
"""torch.Tensor int32 [num_rows, ceil(vocab_size / 32)] on the CPU."""

STRUCTURE_LEVELS = (0, 1, 4, 16)
"""Numbers of opening characters for which `at_most_structure` has a mask."""


class MaskVocabulary:
    """A tokenizer's vocabulary as grammars need it: bytes, ids by bytes, masks.

    vocabulary: ids and bytes. vocab_size: the width of the model's logits where it is larger than
    the vocabulary (padding ids are never allowed).
    Raises ValueError if vocab_size is smaller than the vocabulary.
    """

    def __init__(self, vocabulary: TokenVocabulary, vocab_size: int | None = None) -> None:
        self.vocabulary = vocabulary
        self.vocab_size = vocabulary.size if vocab_size is None else vocab_size
        if self.vocab_size < vocabulary.size:
            raise ValueError(
                f"vocab_size: got {vocab_size}, want at least the vocabulary's {vocabulary.size}"
            )
        self.num_ranks = vocabulary.num_ranks
        self.token_bytes = [vocabulary.token_bytes(i) for i in range(vocabulary.num_ranks)]
        self.ids_by_bytes = {data: i for i, data in enumerate(self.token_bytes)}
        self.max_token_bytes = max(map(len, self.token_bytes))
        self.stop_ids = (vocabulary.control_id(TURN_END), vocabulary.control_id(EOS))

    def prepare(self) -> None:
        """Make all masks now, so that no request waits for them (a second at 163,840 ids)."""
        _ = self.lexer_masks, self.plain_text, self.at_most_structure
        _ = self.starts_without_blank, self.starts_without_digit

    @property
    def num_words(self) -> int:
        """Return the number of int32 words of a mask."""
        return (self.vocab_size + 31) // 32

    def mask(self, token_ids: Iterable[int]) -> Mask:
        """Return a mask that allows exactly these ids."""
        import numpy as np

        flags = np.zeros(self.num_words * 32, dtype=np.uint8)
        flags[list(token_ids)] = 1
        return _pack(flags)

    def mask_where(self, is_allowed: Callable[[bytes], bool]) -> Mask:
        """Return a mask that allows the ordinary ids whose bytes satisfy `is_allowed`."""
        return self.mask(i for i, data in enumerate(self.token_bytes) if is_allowed(data))

    @cached_property
    def all_ids(self) -> Mask:
        """Allow every id of the vocabulary, control tokens too."""
        return self.mask(range(self.vocabulary.size))

    @cached_property
    def ordinary(self) -> Mask:
        """Allow every id that stands for bytes."""
        return self.mask(range(self.num_ranks))

    @cached_property
    def starts_without_blank(self) -> Mask:
        """Allow all but the ordinary ids that begin with JSON white space."""
        blanks = [i for i, data in enumerate(self.token_bytes) if data[0] in json_lexer.BLANKS]
        return self.all_ids & ~self.mask(blanks)

    @cached_property
    def starts_without_digit(self) -> Mask:
        """Allow all but the ordinary ids that begin with a digit."""
        digits = [i for i, data in enumerate(self.token_bytes) if data[0] in json_lexer.DIGITS]
        return self.all_ids & ~self.mask(digits)

    @cached_property
    def plain_text(self) -> Mask:
        """Allow the ids that stay inside a JSON string: no quote, no escape, whole characters."""

        def is_plain(data: bytes) -> bool:
            if b'"' in data or b"\\" in data:
                return False
            start = json_lexer.Position(json_lexer.STRING)
            return json_lexer.advance(start, data).state == json_lexer.STRING

        return self.mask_where(is_plain)

    @cached_property
    def structure(self) -> list[int]:
        """Return for each ordinary id how many `{ [ , :` its bytes hold."""
        return [sum(map(data.count, (b"{", b"[", b",", b":"))) for data in self.token_bytes]

    @cached_property
    def at_most_structure(self) -> dict[int, Mask]:
        """For each of STRUCTURE_LEVELS: allow the ids with at most so many `{ [ , :`."""
        controls = self.all_ids & ~self.ordinary
        return {
            level: controls
            | self.mask(i for i, count in enumerate(self.structure) if count <= level)
            for level in STRUCTURE_LEVELS
        }

    @cached_property
    def lexer_masks(self) -> list[Mask]:
        """For each state of the JSON automaton: allow the ids it takes, and control tokens."""
        import numpy as np

        controls = self.all_ids & ~self.ordinary
        order, rows, lengths = self._byte_rows()
        # Longest tokens first: those that have a byte at a column are a leading slice.
        num_tokens = [int((lengths > column).sum()) for column in range(rows.shape[1])]
        table = np.array(json_lexer.TABLE, dtype=np.uint8)
        masks = []
        for start in range(json_lexer.NUM_STATES):
            states = np.full(len(order), start, dtype=np.uint8)
            for column, count in enumerate(num_tokens):
                states[:count] = table[states[:count], rows[:count, column]]
            flags = np.zeros(self.num_words * 32, dtype=np.uint8)
            flags[order[states != json_lexer.REFUSED]] = 1
            masks.append(_pack(flags) | controls)
        return masks

    def _byte_rows(self) -> tuple[Any, Any, Any]:
        """Return ids by falling length, their bytes padded to [num_ranks, longest], lengths."""
        import numpy as np

        lengths = np.array([len(data) for data in self.token_bytes])
        order = np.argsort(-lengths, kind="stable")
        padded = b"".join(self.token_bytes[i].ljust(self.max_token_bytes, b"\0") for i in order)
        rows = np.frombuffer(padded, dtype=np.uint8).reshape(len(order), self.max_token_bytes)
        return order, rows, lengths[order]

    @cached_property
    def tokenizer_info(self) -> Any:
        """Return xgrammar's view: control tokens can be matched by id, never by their text."""
        from xgrammar import TokenizerInfo, VocabType

        # 0xFF never occurs in UTF-8, so no string of a grammar accepts a control token's text.
        controls = [
            b"\xff" + self.vocabulary.token_bytes(i)
            for i in range(self.num_ranks, self.vocabulary.size)
        ]
        return TokenizerInfo(
            self.token_bytes + controls,
            VocabType.RAW,
            vocab_size=self.vocab_size,
            stop_token_ids=[],  # each matcher names its own; these would stay allowed in its masks
        )

    def longest_prefix(self, data: bytes) -> int | None:
        """Return the id of the longest ordinary token that `data` begins with."""
        for length in range(min(len(data), self.max_token_bytes), 0, -1):
            token_id = self.ids_by_bytes.get(data[:length])
            if token_id is not None:
                return token_id
        return None

    def tokens(self, data: bytes) -> list[int]:
        """Return the ids that spell `data`, longest prefix first."""
        token_ids: list[int] = []
        start = 0
        while start < len(data):
            token_id = self.longest_prefix(data[start : start + self.max_token_bytes])
            if token_id is None:
                raise ValueError(f"data: byte {data[start]:#04x} is no token of the vocabulary")
            token_ids.append(token_id)
            start += len(self.token_bytes[token_id])
        return token_ids

    def num_tokens(self, data: bytes) -> int:
        """Return how many tokens `data` takes, longest prefix first."""
        return len(self.tokens(data))


def is_allowed(mask: Mask, token_id: int) -> bool:
    """Return whether a mask has the bit of an id."""
    return bool((int(mask[token_id >> 5]) >> (token_id & 31)) & 1)


def _pack(flags: Any) -> Mask:
    import numpy as np
    import torch

    return torch.from_numpy(np.packbits(flags, bitorder="little").view(np.int32))
