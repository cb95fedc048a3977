"""What a prompt costs to build: ours against SGLang's own way, on the same requests in one run.

Each request is a body of JSON that grows turn by turn, as a client sends it, and goes through
SGLang's chat handler: first a whole session with our encoding, its ledger warm from the turn
before, then the same one with the chat template and the tokenizer over the whole history. One after
the other, as a server is one or the other: in turns, each would find the other's data in the
processor's caches.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from .prompt_process import OurStep, PromptProcess, StockStep, Times
from .sessions import Session

NEW_TURN_CHARS: Final = 1400  # about 500 tokens with the answer before it
LONG_TURN_CHARS: Final = 8000
REPEATS: Final = 7


@dataclass(frozen=True)
class CostRow:
    """One new turn behind a history of about `num_tokens`: medians.

    released_s: the build of stock with the release's own tokenizer. record_s: what ours takes when
    the answer is there, to remember and read it.
    """

    num_tokens: int
    ours: Times
    stock: Times
    released_s: float
    record_s: float

    @property
    def ratio(self) -> float:
        """Return how many times faster than stock as released ours builds the prompt."""
        return self.released_s / self.ours.build


@dataclass(frozen=True)
class SessionTotal:
    """One session from its first to its last turn, sums in seconds of building prompts.

    record_s: of remembering and reading all its answers besides.
    """

    num_turns: int
    num_tokens: int
    ours_s: float
    stock_s: float
    released_s: float
    record_s: float

    @property
    def ratio(self) -> float:
        """Return how many times faster than stock as released ours builds all the prompts."""
        return self.released_s / self.ours_s


def measure_prompts(
    process: PromptProcess, new_session: Callable[[], Session], sizes: Sequence[int]
) -> list[CostRow]:
    """Return a row per size, ascending: the session grows to it and then gets new turns.

    new_session: gives equal sessions, one for each side.
    """
    session, ours = new_session(), []
    for size in sizes:
        lengths = [LONG_TURN_CHARS]
        while _take_turn(process, session, LONG_TURN_CHARS).num_tokens < size:
            lengths.append(LONG_TURN_CHARS)
        _take_turn(process, session, NEW_TURN_CHARS)  # what is timed next is behind a short turn
        lengths.append(NEW_TURN_CHARS)
        ours.append(
            (lengths, [_take_turn(process, session, NEW_TURN_CHARS) for _ in range(REPEATS)])
        )
    session = new_session()
    return [_row(process, session, lengths, steps) for lengths, steps in ours]


def _row(
    process: PromptProcess, session: Session, lengths: Sequence[int], ours: Sequence[OurStep]
) -> CostRow:
    for num_chars in lengths:
        session.answer()
        session.go_on(num_chars)
    stock = [_take_stock_turn(process, session, NEW_TURN_CHARS) for _ in ours]
    return CostRow(
        ours[-1].num_tokens,
        _medians([step.times for step in ours]),
        _medians([step.times for step in stock]),
        statistics.median(step.released_s for step in stock),
        statistics.median(step.record_s for step in ours),
    )


def measure_session(
    process: PromptProcess, new_session: Callable[[], Session], num_turns: int, num_chars: int
) -> SessionTotal:
    """Build the prompt of every turn of one session both ways."""
    session = new_session()
    ours = [_take_turn(process, session, num_chars) for _ in range(num_turns)]
    session = new_session()
    stock = [_take_stock_turn(process, session, num_chars) for _ in range(num_turns)]
    return SessionTotal(
        num_turns,
        ours[-1].num_tokens,
        sum(step.times.build for step in ours),
        sum(step.times.build for step in stock),
        sum(step.released_s for step in stock),
        sum(step.record_s for step in ours),
    )


def growth_us_per_1k(rows: Sequence[CostRow]) -> float:
    """Return how much more ours takes per 1,000 tokens of history, first row to last, in µs."""
    first, last = rows[0], rows[-1]
    added = last.num_tokens - first.num_tokens
    return (last.ours.build - first.ours.build) / added * 1e9


def _take_turn(process: PromptProcess, session: Session, num_chars: int) -> OurStep:
    step = process.time_ours(_body(session), session.answer())
    session.go_on(num_chars)
    return step


def _take_stock_turn(process: PromptProcess, session: Session, num_chars: int) -> StockStep:
    step = process.time_stock(_body(session))
    session.answer()
    session.go_on(num_chars)
    return step


def _body(session: Session) -> dict[str, Any]:
    return {
        "model": "kimi",
        "messages": session.messages,
        "tools": session.tools,
        "prompt_cache_key": f"session {session.seed}",
    }


def _medians(times: Sequence[Times]) -> Times:
    names = [field.name for field in fields(Times)]
    return Times(*(statistics.median(getattr(one, name) for one in times) for name in names))
