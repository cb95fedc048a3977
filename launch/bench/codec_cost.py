"""What a prompt costs to build: ours against template and tokenizer, on the same conversations.

Ours is `ConversationEncoder` with its ledger, warm from the turn before, as in a running server.
The other is what SGLang does without this package: render the whole history with the checkpoint's
chat template, then encode the whole text. Both get validated messages; HTTP is not in it.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sglang_kimi.codec.conversation import ConversationEncoder
from sglang_kimi.codec.ledger import Origin, TurnLedger
from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary

from .sessions import Session

ORIGIN: Final = Origin("bench", "session")
NEW_TURN_CHARS: Final = 1400  # about 500 tokens with the answer before it
REPEATS: Final = 5

Render = Callable[[Sequence[Any], Sequence[Any]], str]


@dataclass(frozen=True)
class CostRow:
    """Build times of one prompt, medians in seconds."""

    num_tokens: int
    ours_s: float
    stock_s: float


@dataclass(frozen=True)
class SessionTotal:
    """One session from its first to its last turn, sums in seconds."""

    num_turns: int
    num_tokens: int
    ours_s: float
    stock_s: float


def measure_prompts(
    vocabulary: Vocabulary, render: Render, sizes: Sequence[int]
) -> Iterator[CostRow]:
    """Yield a row per size: a session of about that many tokens gets a new turn."""
    session, encoder = Session(vocabulary), _encoder(vocabulary)
    for size in sizes:
        while len(_take_turn(session, encoder, 8000)) < size:
            pass
        ours, stock, num_tokens = [], [], 0
        for _ in range(REPEATS):
            _answer(session, encoder)
            session.go_on(NEW_TURN_CHARS)
            seconds, encoded = _timed(
                lambda: encoder.encode(session.messages, session.tools, ORIGIN)
            )
            ours.append(seconds)
            num_tokens = len(encoded.token_ids)
            text_s, text = _timed(lambda: render(session.messages, session.tools))
            ids_s, _ = _timed(lambda: vocabulary.encode(text))  # noqa: B023
            stock.append(text_s + ids_s)
        yield CostRow(num_tokens, statistics.median(ours), statistics.median(stock))


def measure_session(
    vocabulary: Vocabulary, render: Render, num_turns: int, num_chars: int
) -> SessionTotal:
    """Build the prompt of every turn of one session both ways."""
    session, encoder = Session(vocabulary, seed=1), _encoder(vocabulary)
    ours_s = stock_s = 0.0
    prompt: list[int] = []
    for _ in range(num_turns):
        seconds, encoded = _timed(lambda: encoder.encode(session.messages, session.tools, ORIGIN))
        prompt, ours_s = encoded.token_ids, ours_s + seconds
        seconds, _ = _timed(lambda: vocabulary.encode(render(session.messages, session.tools)))
        stock_s += seconds
        encoder.ledger.record(prompt, session.answer(), ORIGIN)
        session.go_on(num_chars)
    return SessionTotal(num_turns, len(prompt), ours_s, stock_s)


def growth_us_per_1k(rows: Sequence[CostRow]) -> float:
    """Return how much more ours takes per 1,000 tokens of history, first row to last, in µs."""
    first, last = rows[0], rows[-1]
    return (last.ours_s - first.ours_s) / (last.num_tokens - first.num_tokens) * 1e9


def _encoder(vocabulary: Vocabulary) -> ConversationEncoder:
    return ConversationEncoder(PromptCodec(vocabulary), TurnLedger())


def _answer(session: Session, encoder: ConversationEncoder) -> list[int]:
    prompt = encoder.encode(session.messages, session.tools, ORIGIN).token_ids
    encoder.ledger.record(prompt, session.answer(), ORIGIN)
    return prompt


def _take_turn(session: Session, encoder: ConversationEncoder, num_chars: int) -> list[int]:
    prompt = _answer(session, encoder)
    session.go_on(num_chars)
    return prompt


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result
