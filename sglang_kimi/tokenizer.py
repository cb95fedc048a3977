"""Kimi's tokenizer for transformers (4.57 and 5.x), SGLang and xgrammar, on top of our vocabulary.

Named as in the checkpoint's tokenizer_config.json, so that `register()` makes it the class which
`AutoTokenizer` finds there, without the checkpoint's remote code. Chat prompts do not come from
here: `sglang_kimi.codec` encodes them without matching control texts in what clients write.
"""

import shutil
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from transformers import AddedToken, AutoTokenizer, PretrainedConfig, PreTrainedTokenizer
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

from .codec.vocabulary import RANKS_FILE, Vocabulary

MODEL_TYPE: Final = "kimi_k25"


class TikTokenTokenizer(PreTrainedTokenizer):
    """Ids of the release's tokenizer: no added BOS, every control text in a text is its id.

    Token strings are byte-level (GPT-2's alphabet, space is `Ġ`), which xgrammar recognises and
    turns back into bytes. The vocabulary is fixed: a token that it lacks cannot be added.
    """

    vocab_files_names = {"vocab_file": RANKS_FILE}  # noqa: RUF012
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    def __init__(self, vocab_file: str, **kwargs: Any) -> None:
        """Read `vocab_file` (tiktoken.model) and the tokenizer_config.json beside it.

        Raises `sglang_kimi.codec.vocabulary.VocabularyError` if one of them is unusable.
        """
        self.vocab_file = vocab_file
        self.vocabulary = Vocabulary.load(Path(vocab_file).parent)
        for key, token_id in (
            ("bos_token", self.vocabulary.bos_id),
            ("eos_token", self.vocabulary.eos_id),
            ("pad_token", self.vocabulary.pad_id),
            ("unk_token", self.vocabulary.unk_id),
        ):
            if kwargs.get(key) is None:
                kwargs[key] = self.vocabulary.control_text(token_id)
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]

    @property
    def vocab_size(self) -> int:
        """Return the number of ids, control tokens included."""
        return self.vocabulary.size

    def get_vocab(self) -> dict[str, int]:
        """Return token string → id for every id, as a new dictionary."""
        return dict(_token_ids(self.vocabulary))

    def encode(
        self,
        text: Any,
        text_pair: Any = None,
        add_special_tokens: bool = True,
        **kwargs: Any,
    ) -> list[int]:
        """Return the ids of a text; with further arguments transformers' own way to the same ids.

        add_special_tokens: changes nothing, since this tokenizer adds none.
        """
        if isinstance(text, str) and text_pair is None and not kwargs:
            return self.vocabulary.encode(text)
        ids: list[int] = super().encode(
            text, text_pair, add_special_tokens=add_special_tokens, **kwargs
        )
        return ids

    def tokenize(
        self,
        text: str,
        pair: str | None = None,
        add_special_tokens: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Return token strings; `split_special_tokens=True` leaves control texts plain text.

        Takes the text as a whole, unlike the base class, which cuts it at control texts first:
        FORMAT section 2.3 counts its own cuts over the whole text.
        """
        if kwargs.get("split_special_tokens", self.split_special_tokens):
            return [self._convert_id_to_token(i) for i in self.vocabulary.encode_text(text)]
        return self._tokenize(text)

    def save_vocabulary(
        self, save_directory: str, filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Copy tiktoken.model and return its new path; the prefix must be None."""
        if filename_prefix is not None:
            raise ValueError(
                f"filename_prefix: want None, since the file is {RANKS_FILE} by format,"
                f" got {filename_prefix!r}"
            )
        target = Path(save_directory) / RANKS_FILE
        if target.resolve() != Path(self.vocab_file).resolve():
            shutil.copyfile(self.vocab_file, target)
        return (str(target),)

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """Return the text of token strings; incomplete UTF-8 becomes U+FFFD."""
        ids = _token_ids(self.vocabulary)
        pieces = (
            self.vocabulary.token_bytes(ids[token]) if token in ids else token.encode()
            for token in tokens
        )
        return b"".join(pieces).decode(errors="replace")

    def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
        return [self._convert_id_to_token(i) for i in self.vocabulary.encode(text)]

    def _convert_token_to_id(self, token: str) -> int:
        return _token_ids(self.vocabulary).get(token, self.vocabulary.unk_id)

    def _convert_id_to_token(self, index: int) -> str:
        return _token_strings(self.vocabulary)[index]

    def _decode(
        self,
        token_ids: int | list[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> str:
        # Skips by the special flags alone: `<think>` and the tool markers are text to a parser.
        # No clean-up of spaces: what the model wrote is what the next turn must encode again.
        ids = [token_ids] if isinstance(token_ids, int) else token_ids
        skipped = self.vocabulary.special_ids if skip_special_tokens else frozenset()
        return self.vocabulary.decode(i for i in ids if i not in skipped)

    def _add_tokens(
        self, new_tokens: list[str] | list[AddedToken], special_tokens: bool = False
    ) -> int:
        ids = _token_ids(self.vocabulary)
        for token in new_tokens:
            if str(token) not in ids:
                raise ValueError(
                    f"token {str(token)!r}: cannot be added, Kimi's vocabulary is fixed; want one"
                    f" of the control tokens in tokenizer_config.json"
                )
        return super()._add_tokens(new_tokens, special_tokens=special_tokens)


class _TokenizerOnlyConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    """The key that `AutoTokenizer.register` wants; no checkpoint has this type."""

    model_type = f"{MODEL_TYPE}_tokenizer"


def register() -> None:
    """Make `AutoTokenizer` give this class wherever tokenizer_config.json names it.

    transformers takes a class that it finds by name before the checkpoint's `auto_map`, without
    asking. transformers 5 knows `kimi_k25` itself and, by that entry, would build a fast tokenizer
    from tiktoken.model, with other ids: the entry is taken out.
    """
    AutoTokenizer.register(  # type: ignore[no-untyped-call]
        _TokenizerOnlyConfig, slow_tokenizer_class=TikTokenTokenizer, exist_ok=True
    )
    TOKENIZER_MAPPING_NAMES.pop(MODEL_TYPE, None)


@lru_cache(maxsize=4)
def _token_strings(vocabulary: Vocabulary) -> list[str]:
    alphabet = str.maketrans(_byte_alphabet())
    return [
        vocabulary.control_text(token_id)
        or vocabulary.token_bytes(token_id).decode("latin-1").translate(alphabet)
        for token_id in range(vocabulary.size)
    ]


@lru_cache(maxsize=4)
def _token_ids(vocabulary: Vocabulary) -> dict[str, int]:
    # Backwards, so that an ordinary token spelled like a control token cannot take its id.
    strings = _token_strings(vocabulary)
    return {token: token_id for token_id, token in reversed([*enumerate(strings)])}


def _byte_alphabet() -> dict[int, str]:
    """Return GPT-2's byte → character: printable Latin-1 stays, the others go from U+0100 up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(0x100 + position) for position, byte in enumerate(others)
    }
