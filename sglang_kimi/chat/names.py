"""The names by which SGLang finds our chat handling, and for which models it is used."""

from collections.abc import Sequence
from typing import Any, Final

from sglang_kimi.checkpoint import ARCHITECTURE
from sglang_kimi.codec.vocabulary import Vocabulary

ARCHITECTURES: Final = (ARCHITECTURE,)
"""Architectures served by our chat path; every other model keeps SGLang's."""

ENCODING: Final = "kimi_k27"
"""Our key among SGLang's chat encodings."""

PARSER: Final = "kimi_k27"
"""Our name among SGLang's reasoning parsers and its tool-call parsers."""

GRAMMAR_BACKEND: Final = "kimi_k27"
"""Our name among SGLang's grammar backends."""

STOCK_PARSERS: Final = ("kimi_k2", "kimi", "auto")
"""Parser names that a user may give for this model; for our architectures they mean ours."""


def is_kimi(hf_config: Any) -> bool:
    """Say whether a model's config names one of our architectures first."""
    architectures: Sequence[str] = getattr(hf_config, "architectures", None) or ()
    return bool(architectures) and architectures[0] in ARCHITECTURES


def vocabulary_of(tokenizer: Any) -> Vocabulary:
    """Return the vocabulary of the served tokenizer; ValueError if the tokenizer is not ours."""
    vocabulary = getattr(tokenizer, "vocabulary", None)
    if not isinstance(vocabulary, Vocabulary):
        raise ValueError(
            f"tokenizer: want sglang-kimi's TikTokenTokenizer, got {type(tokenizer).__name__}; the "
            "plugin kimi_chat needs kimi_model beside it in SGLANG_PLUGINS"
        )
    return vocabulary
