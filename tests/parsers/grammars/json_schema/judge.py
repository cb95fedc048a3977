"""What a written schema accepts, against what `jsonschema` calls valid; and random walks."""

import json
import random
from typing import Any

from sglang_kimi.parsers.grammars.json_schema import SchemaGrammar, write_grammar

from .conftest import byte_tokenizer

_END = 256
_COMMON = {ord('"'): 60.0, ord("}"): 40.0, ord("]"): 40.0, ord(":"): 20.0, ord(","): 20.0}
_LONG = 150  # bytes after which a walk hurries to its end
_LIMIT = 1500


def is_valid(schema: Any, value: Any) -> bool:
    from jsonschema import Draft202012Validator

    return bool(Draft202012Validator(schema).is_valid(value))


class Judge:
    """The grammar of a schema, compiled once."""

    def __init__(self, schema: Any) -> None:
        from llguidance import LLMatcher

        self.schema = schema
        self.grammar: SchemaGrammar = write_grammar(schema, "test")
        text = LLMatcher.grammar_from_lark(self.grammar.text)
        self._matcher = LLMatcher(byte_tokenizer(), text)
        assert not self._matcher.is_error(), self._matcher.get_error()

    def takes(self, value: Any, *, indent: int | None = None, ascii_only: bool = False) -> bool:
        return self.takes_text(json.dumps(value, indent=indent, ensure_ascii=ascii_only))

    def takes_text(self, text: str) -> bool:
        matcher = self._matcher.deep_copy()
        data = list(text.encode())
        num_taken = matcher.try_consume_tokens(data)
        assert not matcher.is_error(), matcher.get_error()
        return num_taken == len(data) and bool(matcher.is_accepting())

    def walk(self, rng: random.Random) -> str | None:
        """Return a random text of the grammar, None for one that got too long.

        AssertionError for a dead end.
        """
        matcher, text = self._matcher.deep_copy(), bytearray()
        while len(text) < _LIMIT:
            allowed = _allowed(matcher)
            assert allowed, f"a dead end after {text!r}"
            if _END in allowed and (len(allowed) == 1 or rng.random() < 0.3):
                return text.decode()
            weights = _WEIGHTS[len(text) > _LONG]
            token = rng.choices(allowed, [weights[byte] for byte in allowed])[0]
            if token == _END:
                return text.decode()
            text.append(token)
            assert matcher.consume_token(text[-1])
        return None


def _allowed(matcher: Any) -> list[int]:
    import llguidance.numpy
    import numpy as np

    mask = llguidance.numpy.allocate_token_bitmask(1, _END + 1)
    llguidance.numpy.fill_next_token_bitmask(matcher, mask, 0)
    bits = np.unpackbits(mask[0].view(np.uint8), bitorder="little")
    allowed: list[int] = np.flatnonzero(bits[: _END + 1]).tolist()
    return allowed


def _weight(byte: int, is_late: bool) -> float:
    if byte == _END:
        return 0.001
    if byte in b"]}" and is_late:
        return 4000
    if byte in b"[{":
        return 0.05 if is_late else 6
    return _COMMON.get(byte, 0.3 if byte >= 0x80 else 1)


_WEIGHTS = [[_weight(byte, is_late) for byte in range(_END + 1)] for is_late in (False, True)]
