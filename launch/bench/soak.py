"""Thousands of conversations of random shape through one small ledger and cache.

Some tens of them are under way at any time; each ends after a few turns, and what it leaves is put
out by those that come after it. Whether the limits hold, whether what is counted is what memory is
really taken, and whether a conversation under way ever loses a turn is what the figures say.
"""

import ctypes
import gc
import json
import random
import resource
import time
import tracemalloc
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from sglang_kimi.codec.conversation import ConversationEncoder
from sglang_kimi.codec.ledger import Origin, TurnLedger
from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary

NUM_CONVERSATIONS: Final = 10_000
LEDGER_BYTES: Final = 4_000_000
CACHE_BYTES: Final = 24_000_000

_NUM_UNDER_WAY: Final = 32
_MAX_TURNS: Final = 6
_NUM_EQUAL_BEGINNINGS: Final = 100
_NAMES: Final = ("Bash", "Read")
_TOOLS: Final[list[dict[str, Any]]] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in _NAMES
]


@dataclass
class SoakFigures:
    """What a soak came to; the greatest values are over all turns.

    resident_bytes: by how much the process grew, 0 where the system does not tell.
    traced_bytes: what Python holds for ledger and cache at the end, None if not traced.
    num_lost_turns: prompts that did not begin with the prompt and output before them.
    """

    num_conversations: int = 0
    num_turns: int = 0
    num_lost_turns: int = 0
    num_entries: int = 0
    num_evictions: int = 0
    num_segments: int = 0
    ledger_bytes: int = 0
    greatest_ledger_bytes: int = 0
    cache_bytes: int = 0
    greatest_cache_bytes: int = 0
    resident_bytes: int = 0
    traced_bytes: int | None = None
    seconds: float = 0.0


def soak(
    vocabulary: Vocabulary,
    num_conversations: int = NUM_CONVERSATIONS,
    *,
    ledger_bytes: int = LEDGER_BYTES,
    cache_bytes: int = CACHE_BYTES,
    is_traced: bool = False,
) -> SoakFigures:
    """Run so many conversations through one encoder with these limits.

    is_traced: have Python count the memory that it holds, which takes three times as long.
    """
    ledger = TurnLedger(max_bytes=ledger_bytes)
    encoder = ConversationEncoder(PromptCodec(vocabulary), ledger, max_cache_bytes=cache_bytes)
    chance = random.Random(0)
    source = _source()
    figures = SoakFigures()
    resident_before = _resident_bytes()
    if is_traced:
        tracemalloc.start()
    start = time.perf_counter()
    under_way: list[_Conversation] = []
    while under_way or figures.num_conversations < num_conversations:
        while len(under_way) < _NUM_UNDER_WAY and figures.num_conversations < num_conversations:
            under_way.append(_Conversation(figures.num_conversations, chance, source))
            figures.num_conversations += 1
        conversation = chance.choice(under_way)
        figures.num_lost_turns += not conversation.take_turn(encoder)
        figures.num_turns += 1
        if conversation.num_turns_left == 0:
            under_way.remove(conversation)
        figures.greatest_ledger_bytes = max(figures.greatest_ledger_bytes, ledger.num_bytes)
        figures.greatest_cache_bytes = max(figures.greatest_cache_bytes, encoder.num_cache_bytes)
    figures.seconds = time.perf_counter() - start
    del conversation
    figures.resident_bytes = _resident_bytes() - resident_before
    if is_traced:
        figures.traced_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    figures.num_entries, figures.num_evictions = ledger.num_entries, ledger.counters["evictions"]
    figures.ledger_bytes, figures.cache_bytes = ledger.num_bytes, encoder.num_cache_bytes
    figures.num_segments = len(encoder.cache)
    return figures


@dataclass
class _Conversation:
    """One conversation: random texts, thinking that its client forgets, calls and results."""

    number: int
    chance: random.Random
    source: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)  # the last prompt and output
    num_calls: int = 0

    def __post_init__(self) -> None:
        self.num_turns_left = self.chance.randint(1, _MAX_TURNS)
        self.tools = self.chance.choice([None, _TOOLS, _TOOLS])
        tenant = f"tenant {self.chance.randrange(20)}"
        self.origin = Origin(tenant, f"conversation {self.number}")
        beginning = self.chance.randrange(_NUM_EQUAL_BEGINNINGS)
        own = f"{self.number}: " if self.chance.random() < 0.7 else ""
        self._ask(f"{own}task {beginning}")

    def take_turn(self, encoder: ConversationEncoder) -> bool:
        """Ask, generate, answer; False if the prompt does not begin with the last one."""
        prompt = encoder.encode(self.messages, self.tools, self.origin).token_ids
        is_kept = prompt[: len(self.kept)] == self.kept
        output = self._generate(encoder.vocabulary)
        encoder.ledger.record(prompt, output, self.origin)
        self.kept = prompt + output
        self.num_turns_left -= 1
        return is_kept

    def _generate(self, vocabulary: Vocabulary) -> list[int]:
        control, encode = vocabulary.control_id, vocabulary.encode_text
        content = self._text(200).strip()
        message: dict[str, Any] = {"role": "assistant", "content": content}
        output = [*encode(self._text(600)), control("</think>"), *encode(content)]
        if self.tools and self.chance.random() < 0.7:
            name = self.chance.choice(_NAMES)
            arguments = {"x": self._text(80), "n": self.chance.randrange(100)}
            output += [control("<|tool_calls_section_begin|>"), control("<|tool_call_begin|>")]
            output += encode(f"functions.{name}:{self.num_calls}")
            output.append(control("<|tool_call_argument_begin|>"))
            output += encode(json.dumps(arguments, separators=(",", ":")))
            output += [control("<|tool_call_end|>"), control("<|tool_calls_section_end|>")]
            self.num_calls += 1
            call_id = f"call_{self.number}_{self.num_calls}"
            function = {"name": name, "arguments": json.dumps(arguments)}
            message["tool_calls"] = [{"id": call_id, "type": "function", "function": function}]
            self.messages.append(message)
            result = self._text(1000)
            self.messages.append({"role": "tool", "tool_call_id": call_id, "content": result})
        else:
            self.messages.append(message)
            self._ask(self._text(400))
        return [*output, control("<|im_end|>")]

    def _ask(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})

    def _text(self, max_chars: int) -> str:
        """Return up to so many characters, short texts more often than long ones."""
        num_chars = int(max_chars * self.chance.random() ** 2)
        start = self.chance.randrange(len(self.source) - num_chars)
        return self.source[start : start + num_chars]


def _resident_bytes() -> int:
    """Return the memory of this process that is in use, what can be given back given back."""
    gc.collect()
    statistics = Path("/proc/self/statm")
    if not statistics.exists():
        return 0
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return int(statistics.read_text().split()[1]) * resource.getpagesize()


def _source() -> str:
    spec = find_spec("argparse")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")
