"""What a ledger in a file costs beside one in memory, on the same conversation in one run."""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sglang_kimi.codec.conversation import ConversationEncoder
from sglang_kimi.codec.disk_ledger import DiskLedger
from sglang_kimi.codec.ledger import Ledger, Origin, TurnLedger
from sglang_kimi.codec.ledger_file import LedgerFile
from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary

from .sessions import Session

_ORIGIN: Final = Origin("bench", "session")
_TURN_CHARS: Final = 1400
_REPEATS: Final = 15


@dataclass(frozen=True)
class LedgerCost:
    """Seconds for a conversation of so many turns and tokens: shortest builds, median records."""

    num_turns: int
    num_tokens: int
    memory_s: float
    file_s: float
    after_sibling_s: float
    read_again_s: float
    memory_record_s: float
    file_record_s: float


def measure(vocabulary: Vocabulary, num_turns: int) -> LedgerCost:
    """Measure one conversation of `num_turns`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger"
        ours, sibling = (DiskLedger(LedgerFile(path)) for _ in range(2))
        memory, disk = _Conversation(vocabulary, TurnLedger()), _Conversation(vocabulary, ours)
        for conversation in (memory, disk):
            conversation.grow(num_turns)
        plain = [(_seconds(memory.build), _seconds(disk.build)) for _ in range(_REPEATS)]
        after_sibling, again = [], []
        for number in range(_REPEATS):
            sibling.record([number], [number], Origin("another"))
            after_sibling.append(_seconds(disk.build))
        for _ in range(_REPEATS):
            ours.forget()
            again.append(_seconds(disk.build))
        ours.close()
        sibling.close()
    return LedgerCost(
        num_turns,
        memory.num_tokens,
        min(seconds for seconds, _ in plain),
        min(seconds for _, seconds in plain),
        min(after_sibling),
        min(again),
        statistics.median(memory.record_s),
        statistics.median(disk.record_s),
    )


class _Conversation:
    def __init__(self, vocabulary: Vocabulary, ledger: Ledger) -> None:
        self._session = Session(vocabulary)
        self._encoder = ConversationEncoder(PromptCodec(vocabulary), ledger)
        self.num_tokens = 0
        self.record_s: list[float] = []

    def build(self) -> Any:
        encoded = self._encoder.encode(self._session.messages, self._session.tools, _ORIGIN)
        self.num_tokens = len(encoded.token_ids)
        return encoded

    def grow(self, num_turns: int) -> None:
        record = self._encoder.ledger.record
        for _ in range(num_turns):
            encoded, answer = self.build(), self._session.answer()
            self.record_s.append(
                _seconds(
                    lambda: record(
                        encoded.token_ids,  # noqa: B023
                        answer,  # noqa: B023
                        _ORIGIN,
                        prompt_digest=encoded.digest,  # noqa: B023
                    )
                )
            )
            self._session.go_on(_TURN_CHARS)
        self.build()


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
