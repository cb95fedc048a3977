"""Whether llguidance can run a terminal within its limits: tried on a small vocabulary.

A lexer that has to build too many states for one mask stops in the middle of an answer. The probe
has tokens that are as long and as mixed as those of a real vocabulary, but few: a terminal that
passes here with STEP_LEXER_FUEL stays below five times that on Kimi's 163,840 tokens (measured
over twelve patterns with lengths up to 1,000), which is what the serving engine should grant.
"""

import json
import random
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

STEP_LEXER_FUEL: Final = 200_000
_NUM_MIXED: Final = 600
_LONGEST_RUN: Final = 100  # such runs are tokens: indentation, rules of dashes
_TEXT: Final = "a foo, Bar 1: x@y.z"
_PIECES: Final = (*(chr(code) for code in range(32, 127)), "é", "日", "😀", "\\n", "\\u0041")


def can_run(expression: str, texts: Sequence[str]) -> bool:
    """Return whether llguidance takes the terminal and makes masks along the texts.

    texts: decoded strings that the terminal takes; a text of ours is tried as far as it goes.
    """
    from llguidance import LLMatcher, LLParserLimits

    tokenizer = _tokenizer()
    grammar = LLMatcher.grammar_from_lark(f"start: T\nT: {expression}\n")
    limits = LLParserLimits(step_lexer_fuel=STEP_LEXER_FUEL)
    matcher = LLMatcher(tokenizer, grammar, limits=limits, log_level=0)
    for text in (*texts, _TEXT):
        run = matcher.deep_copy()
        for token in tokenizer.greedy_tokenize(json.dumps(text, ensure_ascii=False)):
            if not run.is_error():
                run.compute_bitmask()
            if run.is_error():
                return False
            if not run.try_consume_tokens([token]):
                break
    return True


@cache
def _tokenizer() -> Any:
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Vocabulary()), slices=[])


class _Vocabulary:
    """All bytes, runs of one character and mixtures of many, in the form llguidance asks for."""

    eos_token_id = 256
    bos_token_id = None
    special_token_ids = (256,)

    def __init__(self) -> None:
        seed = random.Random(0)
        tokens = [*(bytes([byte]) for byte in range(256)), b"\xff[end]"]
        tokens += [bytes([byte]) * 16 for byte in range(32, 127)]
        tokens += [bytes([byte]) * _LONGEST_RUN for byte in b" -=*_#"]
        tokens += ["".join(seed.choices(_PIECES, k=12)).encode() for _ in range(_NUM_MIXED)]
        self.tokens = tuple(dict.fromkeys(tokens))

    def __call__(self, data: bytes | str) -> list[int]:
        return list(data.encode() if isinstance(data, str) else data)
