"""A grammar driven token by token in this process: what it refuses, and what it costs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.parsers.grammars.compiler import GrammarCompiler
from sglang_kimi.parsers.grammars.turn import TurnMatcher


@dataclass(frozen=True)
class Walk:
    """refused: places in the output whose id the mask does not allow, up to the one where the
    grammar itself does not go on. step_s: seconds of each token, mask and state together."""

    refused: Sequence[int]
    step_s: Sequence[float]

    @property
    def mean_s(self) -> float:
        """Return the mean of the steps."""
        return sum(self.step_s) / len(self.step_s)


def walk(
    compiler: GrammarCompiler,
    tools: Mapping[str, Any],
    token_ids: Sequence[int],
    max_tokens: int,
) -> Walk:
    """Let a turn with these tools (parameters by name), choice left to the model, be these ids."""
    import torch

    functions = [{"name": name, "parameters": schema} for name, schema in tools.items()]
    grammar = compiler.tool_calls(functions, is_forced=False)
    matcher = TurnMatcher(grammar, max_tokens=max_tokens)
    bitmask = torch.zeros(1, compiler.masks.num_words, dtype=torch.int32)
    words = bitmask.numpy()[0].view("uint32")
    refused, step_s = [], []
    for place, token_id in enumerate(token_ids):
        started = time.perf_counter()
        matcher.fill_bitmask(bitmask)
        step_s.append(time.perf_counter() - started)
        if not words[token_id // 32] >> (token_id % 32) & 1:
            refused.append(place)
        started = time.perf_counter()
        try:
            matcher.accept_token(token_id)
        except ValueError:
            break
        step_s[-1] += time.perf_counter() - started
    return Walk(refused, step_s)


def shown(vocabulary: Vocabulary, token_ids: Sequence[int], place: int) -> str:
    """Return an output's text around a place, for a line that says what was refused."""
    before = vocabulary.decode(token_ids[max(0, place - 8) : place])
    return f"{vocabulary.decode([token_ids[place]])!r} behind {before[-40:]!r}"
