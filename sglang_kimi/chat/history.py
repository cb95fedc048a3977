"""The conversations of one process: prompts built from messages, and what was generated for them.

SGLang builds several adapters; they and the hook that sees the output ids share one ledger, so that
a turn which one API generated is found again by every other.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sglang_kimi.codec.conversation import ConversationEncoder
from sglang_kimi.codec.ledger import TurnLedger, digest_of
from sglang_kimi.codec.prefix_walk import EncodedConversation, PrefixWalk
from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.prompt_exchange import PromptMismatchError, request_digest
from sglang_kimi.codec.vocabulary import Vocabulary

from . import request_scope
from .ledger_choice import Kept, open_kept
from .metrics import PromptMetrics, prompt_metrics
from .request_scope import RequestScope, Turn

logger = logging.getLogger(__name__)


class History:
    """Encodes conversations and remembers their generated turns; safe for several threads.

    kept: the ledger and what goes with it; None remembers nothing, and every prompt is the
          messages' own.
    """

    def __init__(self, vocabulary: Vocabulary, kept: Kept | None, metrics: PromptMetrics) -> None:
        self.ledger = kept.ledger if kept else TurnLedger(0)
        self._is_recording = kept is not None
        self._exchange = kept.exchange if kept else None
        self._encoder = ConversationEncoder(PromptCodec(vocabulary), self.ledger)
        self._metrics = metrics
        self._placing = ThreadPoolExecutor(1, thread_name_prefix="kimi-answers")

    def encode(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        *,
        continue_final_message: bool,
    ) -> EncodedConversation:
        """Return the prompt of the request under way.

        Raises PromptError if it has none, PromptMismatchError if the other server of a prefill and
        decode pair has another one.

        Turns are looked up for the origin in the request's scope, and the scope then knows the turn
        that is to be generated. An answer that continues a message is no whole turn, so no such.
        """
        scope = request_scope.current()
        start = time.perf_counter()
        encoded = self._encoder.encode(
            messages, tools, scope.origin, continue_final_message=continue_final_message
        )
        if scope.pairing is not None and self._exchange is not None:
            request = request_digest(
                scope.origin.tenant,
                messages,
                tools,
                continue_final_message=continue_final_message,
            )
            encoded = self._agreed(scope, request, encoded)
        self._metrics.count_prompt(encoded, time.perf_counter() - start)
        self._metrics.count_ledger(self.ledger)
        self._metrics.count_odd_history(self._encoder.odd_history.counts)
        if self._is_recording and not continue_final_message:
            scope.turn = Turn(
                self,
                encoded.token_ids,
                encoded.digest,
                scope.origin,
                scope.pairing,
                encoded.place,
            )
        return encoded

    def record(self, turn: Turn, output_ids: list[int]) -> None:
        """Remember what was generated after a turn's prompt.

        It is read for the next prompt in a thread, while the client is at work with it.
        """
        self.ledger.record(
            turn.prompt_ids, output_ids, turn.origin, prompt_digest=turn.prompt_digest
        )
        self._metrics.count_ledger(self.ledger)
        if turn.place is not None and output_ids:
            self._placing.submit(_place, turn.place, output_ids)

    def settle(self) -> None:
        """Wait until every answer recorded so far is read."""
        self._placing.submit(lambda: None).result()

    def confirm(self, turn: Turn) -> None:
        """Check, once a server of a pair has an output, that the other one had the same prompt.

        Raises PromptMismatchError if that one never asked for it.
        """
        if turn.pairing is None or self._exchange is None:
            return
        with self._counting_mismatches():
            self._exchange.check_fetched(*turn.pairing)

    def _agreed(
        self, scope: RequestScope, request: bytes, encoded: EncodedConversation
    ) -> EncodedConversation:
        """Return the prompt that the other server of the pair made, ours if it made none yet."""
        assert self._exchange is not None and scope.pairing is not None
        with self._counting_mismatches():
            theirs = self._exchange.agree(
                *scope.pairing, request, encoded.token_ids, encoded.history_call_ids
            )
        if theirs is None or theirs[0] == encoded.token_ids:
            return encoded
        token_ids, call_ids = theirs
        return replace(
            encoded,
            token_ids=token_ids,
            digest=digest_of(token_ids),
            history_call_ids=call_ids,
        )

    @contextmanager
    def _counting_mismatches(self) -> Iterator[None]:
        try:
            yield
        except PromptMismatchError:
            self._metrics.count_mismatch()
            raise


def _place(place: PrefixWalk, output_ids: list[int]) -> None:
    try:
        place.place_answer(output_ids)
    except Exception:  # costs the next prompt the time that this was to spare it
        logger.exception("A generated turn could not be read ahead")


_histories: dict[int, tuple[Vocabulary, History]] = {}
_lock = threading.Lock()


def history_of(vocabulary: Vocabulary) -> History:
    """Return the one history of this process for `vocabulary`, made by the first call.

    The environment says what it keeps, see `open_kept`; ValueError if that cannot be had.
    """
    with _lock:
        if id(vocabulary) not in _histories:  # kept beside its vocabulary, so the id stays its own
            history = History(vocabulary, open_kept(), prompt_metrics())
            _histories[id(vocabulary)] = (vocabulary, history)
        return _histories[id(vocabulary)][1]
