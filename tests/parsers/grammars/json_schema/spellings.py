"""Random spellings of texts in JSON, and a quick judge of terminals: for the tests of strings."""

import json
from functools import lru_cache
from typing import Any

from hypothesis import strategies as st

from .conftest import byte_tokenizer

SHORT = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r"}
SHORT["\t"] = "\\t"


@lru_cache(512)
def _matcher(expression: str) -> Any:
    from llguidance import LLMatcher

    grammar = LLMatcher.grammar_from_lark(f"start: T\nT: {expression}\n")
    matcher = LLMatcher(byte_tokenizer(), grammar)
    assert not matcher.is_error(), f"{matcher.get_error()}\n{expression}"
    return matcher


def accepts_terminal(expression: str, text: str | bytes) -> bool:
    """Return whether the terminal matches exactly `text`; AssertionError if it is broken."""
    matcher = _matcher(expression).deep_copy()
    data = list(text.encode() if isinstance(text, str) else text)
    num_taken = matcher.try_consume_tokens(data)
    assert not matcher.is_error(), matcher.get_error()
    return num_taken == len(data) and bool(matcher.is_accepting())


def escape(char: str, is_upper: bool = False) -> str:
    """Return the \\u spelling of a character."""
    units = char.encode("utf-16-be")
    codes = [int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2)]
    return "".join(f"\\u{code:04X}" if is_upper else f"\\u{code:04x}" for code in codes)


@st.composite
def any_spelling(draw: st.DrawFn, text: str) -> str:
    """Draw one of the ways to write `text` as a JSON string."""
    seed = draw(st.randoms(use_true_random=False))
    written = []
    for char in text:
        ways = [escape(char), escape(char, is_upper=True)]
        if char in SHORT:
            ways += [SHORT[char]] * 2
        if char not in '"\\' and char >= " ":
            ways += [char] * 4
        written.append(seed.choice(ways))
    spelling = '"' + "".join(written) + '"'
    assert json.loads(spelling) == text
    return spelling
