"""The part `serving`: eight requests at once with sixteen tools, grammar on against off."""

import random
import time
from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any, Final

from sglang_kimi.codec.vocabulary import Vocabulary

from .chat_answers import ask, scripted
from .many_requests import run_many
from .schema_shapes import SHAPES
from .scripted_agent import open_client
from .tool_requests import OPENED_SECTION, tool
from .workshop import OURS, Workshop

NUM_AT_ONCE: Final = 8
NUM_TOOLS: Final = 16
MAX_TOKENS: Final = 256
MIN_RATIO: Final = 0.9
_ROUNDS: Final = 6
_MODES: Final = ("auto", "off")
_SCRIPTS: Final = {"thinking": None, "tool calls": OPENED_SECTION}
"""What the answers consist of; calls are free text behind an opened section."""


def run(workshop: Workshop) -> list[str]:
    """Print tokens a second of both modes; returns a line for each kind of answer that misses."""
    client = open_client(workshop.server(OURS).url)
    tools = [tool(f"tool_{n}", schema, is_strict=True) for n, schema in enumerate(_schemas())]
    print(
        f"{NUM_AT_ONCE} requests at once, {len(tools)} tools, tool_choice auto, {MAX_TOKENS} "
        f"tokens each; {_ROUNDS} rounds of each mode in turn",
        flush=True,
    )
    print(f"{'answers of':<14}{'off, tokens/s':>15}{'on, tokens/s':>15}{'on / off':>10}")
    missed = []
    for name, script in _SCRIPTS.items():
        ids = None if script is None else workshop.served_vocabulary.encode(script)
        rates = _rates(client, tools, ids, name)
        ratio = rates["auto"] / rates["off"]
        print(f"{name:<14}{rates['off']:>15.0f}{rates['auto']:>15.0f}{ratio:>10.2f}", flush=True)
        if ratio < MIN_RATIO:
            missed.append(f"serving, {name}: {ratio:.2f} of the tokens/s, want {MIN_RATIO}")
    _show_steps(workshop.vocabulary, tools)
    return missed


def _schemas() -> list[Any]:
    return [*SHAPES.values()][:NUM_TOOLS]


def _rates(
    client: Any, tools: Sequence[Any], script: list[int] | None, label: str
) -> dict[str, float]:
    """Return tokens a second by mode; the modes alternate, so that both meet the same load."""
    totals = {mode: [0, 0.0] for mode in _MODES}
    for number in range(_ROUNDS + 1):
        for mode in _MODES if number % 2 else _MODES[::-1]:
            bodies = [_body(tools, script, mode, number * 100 + n) for n in range(NUM_AT_ONCE)]
            answers, seconds = run_many(
                lambda body: ask(client, body, is_streamed=True),
                bodies,
                NUM_AT_ONCE,
                f"{label}, {mode}",
            )
            if number:  # the first round warms up
                totals[mode][0] += sum(answer.num_tokens for answer in answers)
                totals[mode][1] += seconds
    return {mode: tokens / seconds for mode, (tokens, seconds) in totals.items()}


def _body(tools: Sequence[Any], script: list[int] | None, mode: str, seed: int) -> dict[str, Any]:
    forced = {} if script is None else scripted(script, then_free=True)
    return {
        "messages": [{"role": "user", "content": f"Use the tools as you like, number {seed}."}],
        "tools": tools,
        "tool_choice": "auto",
        "tool_grammar": mode,
        "max_tokens": MAX_TOKENS,
        "seed": seed,
        **forced,
    }


def _show_steps(vocabulary: Vocabulary, tools: Sequence[Any]) -> None:
    steps_us = sorted(seconds * 1e6 for seconds in _random_steps(vocabulary, tools))
    print(
        f"\nthe grammar alone, in this process, calls chosen at random among {vocabulary.size:,} "
        f"ids: {mean(steps_us):.0f} µs a token, 99 of 100 under "
        f"{steps_us[len(steps_us) * 99 // 100]:.0f}, worst {steps_us[-1]:.0f}"
    )


def _random_steps(vocabulary: Vocabulary, tools: Sequence[Any]) -> Iterator[float]:
    """Yield the seconds of each token's mask and state, entering calls included."""
    import numpy as np
    import torch

    from sglang_kimi.parsers.grammars import GrammarCompiler, TurnMatcher

    compiler = GrammarCompiler(vocabulary)
    grammar = compiler.tool_calls(tools, is_forced=True)
    bitmask = torch.zeros((1, compiler.masks.num_words), dtype=torch.int32)
    for seed in range(NUM_AT_ONCE):
        rng = random.Random(seed)
        matcher = TurnMatcher(grammar, max_tokens=4 * MAX_TOKENS, starts_in_thinking=False)
        while not matcher.is_terminated():
            started = time.perf_counter()
            matcher.fill_bitmask(bitmask)
            filled = time.perf_counter()
            flags = np.unpackbits(bitmask[0].numpy().view(np.uint8), bitorder="little")
            token_id = int(rng.choice(np.flatnonzero(flags)))
            chosen = time.perf_counter()
            matcher.accept_token(token_id)
            yield filled - started + time.perf_counter() - chosen
