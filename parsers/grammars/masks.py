"""Token masks over one vocabulary: rows of bits, set = allowed, as SGLang uses them.

A mask is an int32 tensor [ceil(vocab_size / 32)]; id i is bit i % 32 of word i // 32. Everything
here depends on the vocabulary alone, is made on first use and kept; a vocabulary of 163,840 ids
costs 20 KB a mask. The vocabulary is also made here into what llguidance and xgrammar ask for.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, TypeAlias

from ..vocabulary import EOS, THINK_OPEN, TURN_END, TokenVocabulary

Mask: TypeAlias = Any
"""torch.Tensor int32 [ceil(vocab_size / 32)]; torch isn't imported at module level here."""
Bitmask: TypeAlias = Any
"""torch.Tensor int32 [num_rows, ceil(vocab_size / 32)] on the CPU."""

STRUCTURE_LEVELS = (0, 1, 4, 16)
"""Numbers of opening characters for which `at_most_structure` has a mask."""

_MAX_KEPT_NAMES = 10_000
_FILLER_LENGTHS = (64, 32, 16, 8, 4, 2)


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
        self._singles: dict[int, Mask] = {}
        self._num_tokens: dict[bytes, int] = {}
        self.stop_ids = (vocabulary.control_id(TURN_END), vocabulary.control_id(EOS))

    def prepare(self) -> None:
        """Make what every tool call needs now, so that no request waits (a second or two)."""
        _ = self.plain_text, self.at_most_structure, self.ll_tokenizer

    @property
    def num_words(self) -> int:
        """Return the number of int32 words of a mask."""
        return (self.vocab_size + 31) // 32

    @property
    def num_text_words(self) -> int:
        """Return the number of words that hold the vocabulary without padding ids."""
        return (self.vocabulary.size + 31) // 32

    def mask(self, token_ids: Iterable[int]) -> Mask:
        """Return a mask that allows exactly these ids."""
        import numpy as np

        flags = np.zeros(self.num_words * 32, dtype=np.uint8)
        flags[list(token_ids)] = 1
        return _pack(flags)

    def single(self, token_id: int) -> Mask:
        """Return the mask that allows one id; not to be changed."""
        if token_id not in self._singles:
            self._singles[token_id] = self.mask([token_id])
        return self._singles[token_id]

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
    def content(self) -> Mask:
        """Allow what content may hold beside tool sections: text, `<think>`, the turn's end."""
        return self.ordinary | self.mask([*self.stop_ids, self.vocabulary.control_id(THINK_OPEN)])

    @cached_property
    def plain_text(self) -> Mask:
        """Allow the ids that stay inside a JSON string: no quote, no escape, whole characters."""
        return self.mask_where(_is_plain)

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

    @property
    def unspellable_bytes(self) -> list[bytes]:
        """Return all tokens' bytes, those of control tokens such that no text can hold them."""
        # 0xFF never occurs in UTF-8, so no string of a grammar accepts a control token's text.
        return self.token_bytes + [
            b"\xff" + self.vocabulary.token_bytes(i)
            for i in range(self.num_ranks, self.vocabulary.size)
        ]

    @cached_property
    def ll_tokenizer(self) -> Any:
        """Return llguidance's view: control tokens are never text, `stop_ids[0]` ends a text."""
        from llguidance import LLTokenizer, TokenizerWrapper

        # Slices spare a walk over all tokens where a string's plain text is allowed as a whole.
        return LLTokenizer(TokenizerWrapper(_LLVocabulary(self)), slices=LLTokenizer.json_slices())

    @cached_property
    def fillers(self) -> list[int]:
        """Return ids for strings that must be long or follow a pattern: long words, then ASCII."""
        words: dict[int, int] = {}
        for token_id, data in enumerate(self.token_bytes):
            if data.isalpha() and data.isascii():
                words.setdefault(len(data), token_id)
        rank = {**dict.fromkeys(b"0123456789", 0), 0x5C: 2}  # an escape is the longest spelling
        digits_first = sorted(range(0x20, 0x7F), key=lambda byte: rank.get(byte, 1))
        single = (self.ids_by_bytes.get(bytes([byte])) for byte in digits_first)
        long = [words[length] for length in _FILLER_LENGTHS if length in words]
        return long + [token_id for token_id in single if token_id is not None]

    @cached_property
    def tokenizer_info(self) -> Any:
        """Return xgrammar's view: control tokens can be matched by id, never by their text."""
        from xgrammar import TokenizerInfo, VocabType

        return TokenizerInfo(
            self.unspellable_bytes,
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
        """Return how many tokens `data` takes, longest prefix first; for names, it is kept."""
        if data not in self._num_tokens:
            if len(self._num_tokens) >= _MAX_KEPT_NAMES:
                self._num_tokens.clear()
            self._num_tokens[data] = len(self.tokens(data))
        return self._num_tokens[data]


class _LLVocabulary:
    """The vocabulary with the names that llguidance reads."""

    bos_token_id = None

    def __init__(self, masks: MaskVocabulary) -> None:
        self.eos_token_id = masks.stop_ids[0]
        self.tokens = masks.unspellable_bytes
        self.special_token_ids = range(masks.num_ranks, masks.vocabulary.size)
        self._masks = masks

    def __call__(self, data: bytes | str) -> list[int]:
        return self._masks.tokens(data.encode() if isinstance(data, str) else data)


def _is_plain(data: bytes) -> bool:
    if b'"' in data or b"\\" in data or min(data) < 0x20:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_allowed(mask: Mask, token_id: int) -> bool:
    """Return whether a mask has the bit of an id."""
    return bool((int(mask[token_id >> 5]) >> (token_id & 31)) & 1)


def _pack(flags: Any) -> Mask:
    import numpy as np
    import torch

    return torch.from_numpy(np.packbits(flags, bitorder="little").view(np.int32))
