"""Kimi's rank table and control tokens on top of tiktoken (FORMAT section 2).

Ids 0..num_ranks-1 are byte strings, the 256 ids after them are control tokens. Knows texts, bytes
and ids only: nothing of chat, of transformers or of SGLang.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import tiktoken

from .cuts import TextCuts

NUM_CONTROL_TOKENS: Final = 256
RANKS_FILE: Final = "tiktoken.model"
CONFIG_FILE: Final = "tokenizer_config.json"

# FORMAT section 2.1: the alternatives, in the order in which they are tried.
_WORD_START = r"[^\r\n\p{L}\p{N}]?"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
SPLIT_PATTERN: Final = "|".join(
    (
        r"[\p{Han}]+",
        f"{_WORD_START}{_UPPER}*{_LOWER}+{_CONTRACTION}",
        f"{_WORD_START}{_UPPER}+{_LOWER}*{_CONTRACTION}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)


class VocabularyError(ValueError):
    """A tokenizer folder cannot be used; the message names the file, the place and the cure."""


class Vocabulary:
    """The ids of one checkpoint, both ways; immutable, shared, got by `Vocabulary.load`.

    Implements `sglang_kimi.parsers.vocabulary.TokenVocabulary`. Lone surrogates, which no UTF-8
    text can hold, are encoded as U+FFFD.
    """

    def __init__(self, directory: Path, ranks: Sequence[bytes], config: dict[str, Any]) -> None:
        """Build from the byte strings in rank order and a tokenizer_config.json; reads no file."""
        self.directory = directory
        self._ranks = ranks
        added = _added_tokens(config, len(ranks), directory / CONFIG_FILE)
        self._control_texts = [
            added.get(token_id, (f"<|reserved_token_{token_id}|>", False))[0]
            for token_id in range(len(ranks), len(ranks) + NUM_CONTROL_TOKENS)
        ]
        self._control_ids = {
            text: len(ranks) + offset for offset, text in enumerate(self._control_texts)
        }
        if len(self._control_ids) != NUM_CONTROL_TOKENS:
            raise VocabularyError(
                f"{directory / CONFIG_FILE}: added_tokens_decoder gives two ids the same content"
            )
        self.special_ids = frozenset(
            token_id for token_id, (_, special) in added.items() if special
        )
        self.bos_id = self._named_id(config, "bos_token", "[BOS]")
        self.eos_id = self._named_id(config, "eos_token", "[EOS]")
        self.pad_id = self._named_id(config, "pad_token", "[PAD]")
        self.unk_id = self._named_id(config, "unk_token", "[UNK]")
        self._encoding = tiktoken.Encoding(
            name=str(directory),
            pat_str=SPLIT_PATTERN,
            mergeable_ranks={token: rank for rank, token in enumerate(ranks)},
            special_tokens=self._control_ids,
        )

    @classmethod
    def load(cls, directory: str | Path) -> "Vocabulary":
        """Return the vocabulary of a folder that holds tiktoken.model and tokenizer_config.json.

        The same unchanged folder gives the same object. Raises VocabularyError for a missing file,
        a broken line (with its number), ranks that do not count up from 0, or ids out of place.
        """
        folder = Path(directory).resolve()
        stamps = tuple(_stamp(folder / name) for name in (RANKS_FILE, CONFIG_FILE))
        return _load(folder, stamps)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the folder: the other process, or a deep copy, shares its own loaded table."""
        return (Vocabulary.load, (self.directory,))

    @property
    def num_ranks(self) -> int:
        """Return the number of ordinary tokens, which is also the id of the first control token."""
        return len(self._ranks)

    @property
    def size(self) -> int:
        """Return the number of all ids, control tokens included."""
        return len(self._ranks) + NUM_CONTROL_TOKENS

    @property
    def ordinary_tokens(self) -> Sequence[bytes]:
        """Return the bytes of the ordinary tokens, by id; not to be changed."""
        return self._ranks

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes of an ordinary token; a control token gives its text's bytes."""
        if 0 <= token_id < len(self._ranks):
            return self._ranks[token_id]
        return (self.control_text(token_id) or "").encode()

    def control_text(self, token_id: int) -> str | None:
        """Return the text of a control token, None for an ordinary one; ValueError out of range."""
        if not 0 <= token_id < self.size:
            raise ValueError(f"token id: want 0..{self.size - 1}, got {token_id}")
        if token_id < self.num_ranks:
            return None
        return self._control_texts[token_id - self.num_ranks]

    def control_id(self, text: str) -> int:
        """Return the id of a control token; KeyError if there is no such control text."""
        return self._control_ids[text]

    def rank(self, token: bytes) -> int | None:
        """Return the id of an ordinary token by its bytes, None if there is none."""
        try:
            return self._encoding.encode_single_token(token)
        except KeyError:
            return None

    def encode_text(self, text: str, cuts: TextCuts | None = None) -> list[int]:
        """Return the ids of a text as ordinary tokens: control texts in it stay plain text.

        cuts: where the text stands in a longer one; None if it stands alone.
        """
        pieces = (cuts or TextCuts()).pieces(_without_surrogates(text))
        encode = self._encoding.encode_ordinary
        if len(pieces) == 1:
            return encode(pieces[0])
        return [token_id for piece in pieces for token_id in encode(piece)]

    def encode(self, text: str) -> list[int]:
        """Return the ids as the release's tokenizer gives them: every control text is its id."""
        pieces = TextCuts().pieces(_without_surrogates(text))
        encode = self._encoding.encode
        return [token_id for piece in pieces for token_id in encode(piece, allowed_special="all")]

    def decode_bytes(self, token_ids: Iterable[int]) -> bytes:
        """Return the joined bytes of ids; ValueError names an id that is out of range."""
        token_ids = list(token_ids)
        try:
            return self._encoding.decode_bytes(token_ids)
        except (KeyError, OverflowError):
            return b"".join(self.token_bytes(token_id) for token_id in token_ids)

    def decode(self, token_ids: Iterable[int]) -> str:
        """Return the text of ids, control texts included; invalid UTF-8 becomes U+FFFD."""
        return self.decode_bytes(token_ids).decode(errors="replace")

    def _named_id(self, config: dict[str, Any], key: str, default: str) -> int:
        value = config.get(key) or default
        text = value.get("content") if isinstance(value, dict) else value
        if text not in self._control_ids:
            raise VocabularyError(
                f"{self.directory / CONFIG_FILE}: {key}: want the content of an entry of"
                f" added_tokens_decoder, got {text!r}"
            )
        return self._control_ids[text]


def _stamp(path: Path) -> tuple[int, int]:
    """Return what changes when a file is rewritten, so that a stale table is never used."""
    try:
        status = path.stat()
    except OSError as error:
        raise VocabularyError(
            f"{path}: cannot be read ({error.strerror}); want a folder with {RANKS_FILE} and"
            f" {CONFIG_FILE}"
        ) from error
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=8)
def _load(folder: Path, stamps: tuple[tuple[int, int], ...]) -> Vocabulary:
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise VocabularyError(f"{folder / CONFIG_FILE}: not JSON ({error})") from error
    if not isinstance(config, dict):
        raise VocabularyError(f"{folder / CONFIG_FILE}: want a JSON object")
    return Vocabulary(folder, _read_ranks(folder / RANKS_FILE), config)


def _read_ranks(path: Path) -> list[bytes]:
    ranks: list[bytes] = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line:
            continue
        try:
            encoded, rank = line.split(b" ")
            token, position = base64.b64decode(encoded, validate=True), int(rank)
        except (ValueError, binascii.Error) as error:
            raise VocabularyError(
                f"{path}, line {number}: want 'base64 rank', got {line[:60]!r}"
            ) from error
        if position != len(ranks):
            raise VocabularyError(
                f"{path}, line {number}: want rank {len(ranks)}, got {position}; ranks count up"
                " from 0, one a line"
            )
        ranks.append(token)
    known = set(ranks)
    if len(known) != len(ranks):
        raise VocabularyError(f"{path}: {len(ranks) - len(known)} tokens stand there twice")
    if absent := [byte for byte in range(256) if bytes([byte]) not in known]:
        raise VocabularyError(
            f"{path}: want all 256 single bytes, {len(absent)} absent, first {absent[0]:#04x}"
        )
    return ranks


def _added_tokens(
    config: dict[str, Any], num_ranks: int, path: Path
) -> dict[int, tuple[str, bool]]:
    """Return id → (text, special flag) from added_tokens_decoder."""
    decoder = config.get("added_tokens_decoder")
    if not isinstance(decoder, dict):
        raise VocabularyError(f"{path}: added_tokens_decoder: want an object, got {decoder!r}")
    added: dict[int, tuple[str, bool]] = {}
    for key, entry in decoder.items():
        last = num_ranks + NUM_CONTROL_TOKENS - 1
        if not (key.isascii() and key.isdecimal() and num_ranks <= int(key) <= last):
            raise VocabularyError(
                f"{path}: added_tokens_decoder: want ids {num_ranks}..{last}, the"
                f" {NUM_CONTROL_TOKENS} after the ranks of {RANKS_FILE}, got {key!r}"
            )
        text = entry.get("content") if isinstance(entry, dict) else None
        if not isinstance(text, str) or not text:
            raise VocabularyError(
                f"{path}: added_tokens_decoder[{key}]: want an object with a 'content' text,"
                f" got {entry!r}"
            )
        added[int(key)] = (text, bool(entry.get("special", False)))
    return added


def _without_surrogates(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        # Joins a pair that was written as two halves; a half alone becomes U+FFFD.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
