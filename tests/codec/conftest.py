"""Vocabularies for the codec's tests: the real one, and a byte-level one that needs no data."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sglang_kimi.codec.conversation import ConversationEncoder
from sglang_kimi.codec.vocabulary import Vocabulary

from .agent_loop import AgentLoop, new_encoder

# Name → offset from the number of ranks, as in every checkpoint (FORMAT section 2.2).
CONTROL_OFFSETS = {
    "[BOS]": 0,
    "[EOS]": 1,
    "<|im_end|>": 2,
    "<|im_user|>": 3,
    "<|im_assistant|>": 4,
    "<|im_system|>": 10,
    "<|tool_calls_section_begin|>": 11,
    "<|tool_calls_section_end|>": 12,
    "<|tool_call_begin|>": 13,
    "<|tool_call_argument_begin|>": 14,
    "<|tool_call_end|>": 15,
    "<|im_middle|>": 17,
    "<|media_begin|>": 18,
    "<|media_content|>": 19,
    "<|media_end|>": 20,
    "<|media_pad|>": 21,
    "<think>": 22,
    "</think>": 23,
    "[UNK]": 254,
    "[PAD]": 255,
}
NOT_SPECIAL = {"<think>", "</think>"} | {name for name in CONTROL_OFFSETS if "tool_call" in name}

Write = Callable[..., Path]


def ranks_text(tokens: list[bytes]) -> str:
    return "".join(
        f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens)
    )


@pytest.fixture(scope="session")
def write_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Return a function that writes a tokenizer folder, by default a sound one of 256 + 2 ranks."""

    def write(
        tokens: list[bytes] | None = None,
        *,
        ranks: str | None = None,
        config: dict[str, Any] | None = None,
    ) -> Path:
        tokens = tokens or [*(bytes([byte]) for byte in range(256)), b"ab", b"abc"]
        folder = tmp_path_factory.mktemp("tokenizer")
        (folder / "tiktoken.model").write_text(ranks if ranks is not None else ranks_text(tokens))
        added = {
            str(len(tokens) + offset): {"content": text, "special": text not in NOT_SPECIAL}
            for text, offset in CONTROL_OFFSETS.items()
        }
        sound = {"added_tokens_decoder": added, "tokenizer_class": "TikTokenTokenizer"}
        (folder / "tokenizer_config.json").write_text(json.dumps(sound | (config or {})))
        return folder

    return write


@pytest.fixture(scope="session")
def small(write_tokenizer: Write) -> Vocabulary:
    """Return a vocabulary of the 256 bytes, `ab` and `abc`."""
    return Vocabulary.load(write_tokenizer())


@pytest.fixture(scope="session")
def real(shared: Path) -> Vocabulary:
    """Return the release's vocabulary."""
    return Vocabulary.load(shared / "kimi" / "tokenizer")


@pytest.fixture(scope="session")
def goldens(shared: Path) -> list[dict[str, Any]]:
    """Return the golden prompts."""
    lines = (shared / "kimi" / "golden_prompts.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture
def encoder(small: Vocabulary) -> ConversationEncoder:
    """Return an encoder with an empty ledger."""
    return new_encoder(small)


@pytest.fixture
def loop(small: Vocabulary, encoder: ConversationEncoder) -> AgentLoop:
    """Return a conversation of that encoder."""
    return AgentLoop(encoder, small)
