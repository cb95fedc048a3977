"""What a prompt costs to build: ours against SGLang's own way, on the same requests in one run.

Each request is a body of JSON that grows turn by turn, as a client sends it, and goes through
SGLang's chat handler twice: with our encoding, its ledger warm from the turn before, and with the
chat template and the tokenizer over the whole history.
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from .prompt_process import PromptProcess, Step, Times
from .sessions import Session, many_tools

NEW_TURN_CHARS: Final = 1400  # about 500 tokens with the answer before it
LONG_TURN_CHARS: Final = 8000
REPEATS: Final = 7


@dataclass(frozen=True)
class CostRow:
    """One new turn behind a history of about `num_tokens`: medians.

    released_s: the build of stock with the release's own tokenizer.
    """

    num_tokens: int
    ours: Times
    stock: Times
    released_s: float

    @property
    def ratio(self) -> float:
        """Return how many times faster than stock as released ours builds the prompt."""
        return self.released_s / self.ours.build


@dataclass(frozen=True)
class SessionTotal:
    """One session from its first to its last turn, sums in seconds of building prompts."""

    num_turns: int
    num_tokens: int
    ours_s: float
    stock_s: float
    released_s: float

    @property
    def ratio(self) -> float:
        """Return how many times faster than stock as released ours builds all the prompts."""
        return self.released_s / self.ours_s


def measure_prompts(
    process: PromptProcess, session: Session, sizes: Sequence[int]
) -> Iterator[CostRow]:
    """Yield a row per size, ascending: the session grows to it and then gets new turns."""
    for size in sizes:
        while _take_turn(process, session, LONG_TURN_CHARS).num_tokens < size:
            pass
        _take_turn(process, session, NEW_TURN_CHARS)  # what is timed next is behind a short turn
        steps = [_take_turn(process, session, NEW_TURN_CHARS) for _ in range(REPEATS)]
        yield CostRow(
            steps[-1].num_tokens,
            _medians([step.ours for step in steps]),
            _medians([step.stock for step in steps]),
            statistics.median(step.stock.build + step.release_cuts_s for step in steps),
        )


def measure_tools(process: PromptProcess, session: Session, num_tools: int) -> CostRow:
    """Return the row of a short session with so many declared tools."""
    session.tools = many_tools(num_tools)
    return next(measure_prompts(process, session, [0]))


def measure_session(
    process: PromptProcess, session: Session, num_turns: int, num_chars: int
) -> SessionTotal:
    """Build the prompt of every turn of one session both ways."""
    steps = [_take_turn(process, session, num_chars) for _ in range(num_turns)]
    return SessionTotal(
        num_turns,
        steps[-1].num_tokens,
        sum(step.ours.build for step in steps),
        sum(step.stock.build for step in steps),
        sum(step.stock.build + step.release_cuts_s for step in steps),
    )


def growth_us_per_1k(rows: Sequence[CostRow]) -> float:
    """Return how much more ours takes per 1,000 tokens of history, first row to last, in µs."""
    first, last = rows[0], rows[-1]
    added = last.num_tokens - first.num_tokens
    return (last.ours.build - first.ours.build) / added * 1e9


def _take_turn(process: PromptProcess, session: Session, num_chars: int) -> Step:
    body: dict[str, Any] = {
        "model": "kimi",
        "messages": session.messages,
        "tools": session.tools,
        "prompt_cache_key": f"session {session.seed}",
    }
    step = process.time(body, session.answer())
    session.go_on(num_chars)
    return step


def _medians(times: Sequence[Times]) -> Times:
    names = [field.name for field in fields(Times)]
    return Times(*(statistics.median(getattr(one, name) for one in times) for name in names))
