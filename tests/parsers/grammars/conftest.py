"""A small vocabulary, a compiler over it, and outputs chosen at random or by script."""

import base64
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from sglang_kimi.parsers.grammars import GrammarCompiler, TurnMatcher

CONTROLS = {
    0: "[BOS]",
    1: "[EOS]",
    2: "<|im_end|>",
    11: "<|tool_calls_section_begin|>",
    12: "<|tool_calls_section_end|>",
    13: "<|tool_call_begin|>",
    14: "<|tool_call_argument_begin|>",
    15: "<|tool_call_end|>",
    22: "<think>",
    23: "</think>",
}
# Tokens that cross the borders where a grammar might look at the first byte only.
PIECES = (
    *('","', '": "', '":"', '{"', '"}', '": ', "  ", "    ", "\n    ", "functions", "functions."),
    *("000", "123", "the", "hello", "true", "false", "null", "},{", "[[", "}}", ":0", ' "', "é"),
    *("日本", "\\n", "\\u", "ud", "ude", "d8", "\n\n", "read_file", "1e", "e9", "e+99", "{{{{"),
)


class FakeVocabulary:
    """All bytes, some pieces, 256 control tokens after them."""

    def __init__(self, tokens: Iterable[bytes]) -> None:
        self.ordinary_tokens = list(tokens)
        self.num_ranks = len(self.ordinary_tokens)
        self.size = self.num_ranks + 256
        self._controls = {
            self.num_ranks + offset: CONTROLS.get(offset, f"<|reserved_token_{offset}|>")
            for offset in range(256)
        }
        self._ids = {text: token_id for token_id, text in self._controls.items()}

    def token_bytes(self, token_id: int) -> bytes:
        if token_id < self.num_ranks:
            return self.ordinary_tokens[token_id]
        return self._controls[token_id].encode()

    def control_text(self, token_id: int) -> str | None:
        return self._controls.get(token_id)

    def control_id(self, text: str) -> int:
        return self._ids[text]


class Driver:
    """Drives matchers over one compiler: what a sampler does, without a model."""

    def __init__(self, compiler: GrammarCompiler) -> None:
        import torch

        self.compiler = compiler
        self.masks = compiler.masks
        self.vocabulary = compiler.masks.vocabulary
        self._bitmask = torch.zeros((2, self.masks.num_words), dtype=torch.int32)

    def spell(self, text: str) -> list[int]:
        """Return ids of a text: control texts as control ids, the rest longest token first."""
        token_ids: list[int] = []
        data = text.encode()
        controls = [text.encode() for text in CONTROLS.values()]
        while data:
            control = next((one for one in controls if data.startswith(one)), None)
            if control is not None:
                token_ids.append(self.vocabulary.control_id(control.decode()))
                data = data[len(control) :]
                continue
            end = min((data.find(one) for one in controls if one in data), default=len(data))
            token_id = self.masks.longest_prefix(data[:end])
            assert token_id is not None
            token_ids.append(token_id)
            data = data[len(self.masks.token_bytes[token_id]) :]
        return token_ids

    def text(self, token_ids: Iterable[int]) -> bytes:
        return b"".join(map(self.vocabulary.token_bytes, token_ids))

    def allowed(self, matcher: TurnMatcher) -> list[int]:
        """Return the allowed ids."""
        return [int(token_id) for token_id in self._allowed(matcher)]

    def _allowed(self, matcher: TurnMatcher) -> Any:
        """Return the allowed ids as an array; row 1 of a two-row bitmask, as in a batch."""
        import numpy as np

        matcher.fill_bitmask(self._bitmask, 1)
        row = self._bitmask[1].numpy().view(np.uint8)
        return np.flatnonzero(np.unpackbits(row, bitorder="little"))

    def choose(self, matcher: TurnMatcher, seed: int, max_tokens: int) -> list[int]:
        """Sample uniformly over the mask until the turn ends or max_tokens are out."""
        rng = random.Random(seed)
        token_ids: list[int] = []
        while not matcher.is_terminated() and len(token_ids) < max_tokens:
            allowed = self._allowed(matcher)
            assert len(allowed), f"nothing is allowed after {self.text(token_ids)[-200:]!r}"
            token_ids.append(int(allowed[rng.randrange(len(allowed))]))
            matcher.accept_token(token_ids[-1])
        return token_ids

    def passes(self, matcher: TurnMatcher, text: str) -> bool:
        """Return whether every token of a text is allowed where it stands."""
        for token_id in self.spell(text):
            if token_id not in self._allowed(matcher):
                return False
            matcher.accept_token(token_id)
        return True


def tool(name: str, parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def calls(output: bytes) -> list[tuple[str, Any]]:
    """Return id and decoded arguments of every call in an output."""
    found = []
    for part in output.split(b"<|tool_call_begin|>")[1:]:
        call_id, rest = part.split(b"<|tool_call_argument_begin|>")
        arguments = rest.split(b"<|tool_call_end|>")[0].decode("utf-8")
        json.dumps(json.loads(arguments), ensure_ascii=False).encode("utf-8")  # no lone surrogate
        found.append((call_id.decode(), json.loads(arguments)))
    return found


@pytest.fixture(scope="session")
def driver() -> Driver:
    tokens = [bytes([byte]) for byte in range(256)] + [piece.encode() for piece in PIECES]
    return Driver(GrammarCompiler(FakeVocabulary(tokens)))


@pytest.fixture(scope="session")
def mini_driver() -> Driver:
    """Return a driver whose vocabulary is mostly text: xgrammar keeps such masks in another form
    than those of a vocabulary of bytes."""
    from sglang_kimi.launch import mini

    return driver_of(Path(mini.__file__).parent / "tiktoken.model")


@pytest.fixture(scope="session")
def real_driver(shared: Path) -> Driver:
    return driver_of(shared / "kimi" / "tokenizer" / "tiktoken.model")


def driver_of(ranks: Path) -> Driver:
    tokens = (base64.b64decode(line.split()[0]) for line in ranks.read_bytes().splitlines())
    return Driver(GrammarCompiler(FakeVocabulary(tokens)))


@pytest.fixture(scope="session")
def make_tool() -> Callable[[str, Any], dict[str, Any]]:
    return tool


@pytest.fixture(scope="session")
def calls_in() -> Callable[[bytes], list[tuple[str, Any]]]:
    return calls
