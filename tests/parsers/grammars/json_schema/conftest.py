"""Whether a grammar accepts a text, byte by byte: the judge of every test in this folder."""

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest


class ByteTokenizer:
    """Every byte is a token; 256 ends the text. The form that llguidance asks for."""

    eos_token_id = 256
    bos_token_id = None
    tokens = (*(bytes([byte]) for byte in range(256)), b"\xff[end]")
    special_token_ids = (256,)

    def __call__(self, data: bytes | str) -> list[int]:
        return list(data.encode() if isinstance(data, str) else data)


@cache
def byte_tokenizer() -> Any:
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(ByteTokenizer()), slices=[])


def accepts(grammar: str, text: str | bytes) -> bool:
    """Return whether the Lark grammar accepts exactly `text`; AssertionError if it is broken."""
    from llguidance import LLMatcher

    matcher = LLMatcher(byte_tokenizer(), LLMatcher.grammar_from_lark(grammar))
    assert not matcher.is_error(), f"{matcher.get_error()}\n{grammar}"
    data = list(text.encode() if isinstance(text, str) else text)
    num_taken = matcher.try_consume_tokens(data)
    assert not matcher.is_error(), matcher.get_error()
    return num_taken == len(data) and matcher.is_accepting()


@pytest.fixture
def terminal_accepts() -> Callable[[str, str | bytes], bool]:
    """Return a judge of terminal expressions: `terminal_accepts(expression, text)`."""
    return lambda expression, text: accepts(f"start: T\nT: {expression}\n", text)


class Terminal:
    """A terminal expression, compiled once: judged text by text, or walked at random."""

    def __init__(self, expression: str) -> None:
        from llguidance import LLMatcher

        grammar = f"start: T\nT: {expression}\n"
        self._matcher = LLMatcher(byte_tokenizer(), LLMatcher.grammar_from_lark(grammar))
        assert not self._matcher.is_error(), f"{self._matcher.get_error()}\n{grammar}"

    def accepts(self, text: str) -> bool:
        """Return whether the terminal is exactly this text."""
        matcher = self._matcher.deep_copy()
        data = list(text.encode())
        return bool(matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting())

    def walk(self, seed: int, max_bytes: int = 400) -> str | None:
        """Choose byte by byte at random, ending where it may end one time in four.

        Returns None for a text that didn't end within max_bytes.
        """
        rng = random.Random(seed)
        matcher = self._matcher.deep_copy()
        data = bytearray()
        while len(data) < max_bytes:
            mask = matcher.compute_logit_bias()
            allowed = [byte for byte in range(256) if mask[byte]]
            if matcher.is_accepting() and (not allowed or rng.random() < 0.25):
                return data.decode()
            assert allowed, f"nothing may follow {bytes(data)!r}"
            data.append(rng.choice(allowed))
            assert matcher.consume_token(data[-1])
        return None


@pytest.fixture(scope="session")
def compiled_terminal() -> Callable[[str], Terminal]:
    """Return what compiles a terminal expression."""
    return Terminal
