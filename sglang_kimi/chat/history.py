"""The conversations of one process: prompts built from messages, and what was generated for them.

SGLang builds several adapters; they and the hook that sees the output ids share one ledger, so that
a turn which one API generated is found again by every other.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sglang_kimi import environment
from sglang_kimi.codec.conversation import ConversationEncoder, EncodedConversation
from sglang_kimi.codec.ledger import TurnLedger
from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary

from . import request_scope
from .metrics import PromptMetrics, prompt_metrics
from .request_scope import Turn


class History:
    """Encodes conversations and remembers their generated turns; safe for several threads.

    ledger_bytes: the ledger's limit; 0 remembers nothing, and every prompt is the messages' own.
    """

    def __init__(self, vocabulary: Vocabulary, ledger_bytes: int, metrics: PromptMetrics) -> None:
        self.ledger = TurnLedger(ledger_bytes)
        self._is_recording = ledger_bytes > 0
        self._encoder = ConversationEncoder(PromptCodec(vocabulary), self.ledger)
        self._metrics = metrics

    def encode(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        *,
        continue_final_message: bool,
    ) -> EncodedConversation:
        """Return the prompt of the request under way; PromptError if it has none.

        Turns are looked up for the origin in the request's scope, and the scope then knows the turn
        that is to be generated. An answer that continues a message is no whole turn, so no such.
        """
        scope = request_scope.current()
        start = time.perf_counter()
        encoded = self._encoder.encode(
            messages, tools, scope.origin, continue_final_message=continue_final_message
        )
        self._metrics.count_prompt(encoded, time.perf_counter() - start)
        self._metrics.count_ledger(self.ledger)
        self._metrics.count_odd_history(self._encoder.odd_history.counts)
        if self._is_recording and not continue_final_message:
            scope.turn = Turn(self, encoded.token_ids, encoded.digest, scope.origin)
        return encoded

    def record(self, turn: Turn, output_ids: list[int]) -> None:
        """Remember what was generated after a turn's prompt."""
        self.ledger.record(
            turn.prompt_ids, output_ids, turn.origin, prompt_digest=turn.prompt_digest
        )
        self._metrics.count_ledger(self.ledger)


_histories: dict[int, tuple[Vocabulary, History]] = {}
_lock = threading.Lock()


def history_of(vocabulary: Vocabulary) -> History:
    """Return the one history of this process for `vocabulary`, made by the first call.

    Its limit is `SGLANG_KIMI_LEDGER_BYTES`; ValueError if that is no number of bytes.
    """
    with _lock:
        if id(vocabulary) not in _histories:  # kept beside its vocabulary, so the id stays its own
            history = History(vocabulary, environment.ledger_bytes(), prompt_metrics())
            _histories[id(vocabulary)] = (vocabulary, history)
        return _histories[id(vocabulary)][1]
