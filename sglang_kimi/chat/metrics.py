"""What an operator sees of prompts, ledger and answers at `/metrics`, beside SGLang's figures.

The objects must be made after SGLang has chosen where its processes keep their values, so nothing
here runs at import. Counters of several HTTP processes are summed there.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Protocol

from sglang_kimi import environment
from sglang_kimi.parsers.repairs import Repair

_PREFIX: Final = "sglang_kimi_"
_LEDGER_COUNTERS: Final = {
    "hits": "Turns of a history that were found as they were generated",
    "misses": "Turns of a history that were not found, so encoded from the message",
    "ambiguous": "Turns of a history that several generated turns fit and no hint decided between",
    "evictions": "Generated turns that were dropped for room",
    "expired": "Generated turns that were dropped since nobody used them for too long",
    "errors": "Failures of the ledger's file; each cost the reuse of a turn at most",
}
CUT_CALL_LEFT_OUT: Final = "cut_call_left_out"
"""Kind of repair: a message of `/v1/messages` without a call that the token limit cut."""

_BUILD_BUCKETS_S: Final = (
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 4.0
)  # fmt: skip


class Ledger(Protocol):
    """What is read of a ledger."""

    @property
    def num_bytes(self) -> int:
        """Return the bytes in use."""

    @property
    def counters(self) -> Counter[str]:
        """Return how often each thing happened since the start."""


class Prompt(Protocol):
    """What is read of an encoded conversation; numbers are of tokens."""

    @property
    def token_ids(self) -> list[int]:
        """Return the whole prompt."""

    @property
    def num_spliced_tokens(self) -> int:
        """Return how many are ids that were generated here."""

    @property
    def num_restored_thinking_tokens(self) -> int:
        """Return how many of those are thinking that the client did not send."""

    @property
    def num_cached_tokens(self) -> int:
        """Return how many came from an earlier encoding."""


class PromptMetrics:
    """The Prometheus objects of one process; make one only (`prompt_metrics`).

    is_ledger_shared: every process has the same ledger, so its size is not to be summed.
    """

    def __init__(self, *, is_ledger_shared: bool) -> None:
        import prometheus_client  # chooses its storage when it is first imported

        def counter(name: str, text: str) -> Any:
            return prometheus_client.Counter(_PREFIX + name, text)

        self._ledger = {
            key: counter(f"ledger_{key}", text) for key, text in _LEDGER_COUNTERS.items()
        }
        self._ledger_bytes = prometheus_client.Gauge(
            f"{_PREFIX}ledger_bytes",
            "Bytes of generated turns that are remembered",
            multiprocess_mode="livemax" if is_ledger_shared else "livesum",
        )
        self._mismatches = counter(
            "prompt_mismatch",
            "Requests refused since prefill and decode server had other prompts for them",
        )
        self._restored = counter(
            "restored_thinking_tokens", "Prompt tokens of thinking that the client had not sent"
        )
        self._spliced = counter("spliced_tokens", "Prompt tokens taken as they were generated")
        self._reused = counter("reused_prompt_tokens", "Prompt tokens that were encoded earlier")
        self._prompt = counter("prompt_tokens", "Tokens of all prompts built from messages")
        self._seconds = prometheus_client.Histogram(
            f"{_PREFIX}prompt_build_seconds",
            "From a request's messages to its prompt's token ids",
            buckets=_BUILD_BUCKETS_S,
        )
        self._odd = prometheus_client.Counter(
            f"{_PREFIX}odd_history",
            "Things in histories that clients made by cutting or rewriting them",
            ["kind"],
        )
        self._seen: dict[str, int] = {}
        self._seen_odd: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count_prompt(self, prompt: Prompt, seconds: float) -> None:
        """Count a prompt and the time that it took."""
        self._prompt.inc(len(prompt.token_ids))
        self._spliced.inc(prompt.num_spliced_tokens)
        self._restored.inc(prompt.num_restored_thinking_tokens)
        self._reused.inc(prompt.num_cached_tokens)
        self._seconds.observe(seconds)

    def count_mismatch(self) -> None:
        """Count a request that was refused since two servers had different prompts for it."""
        self._mismatches.inc()

    def count_ledger(self, ledger: Ledger) -> None:
        """Take over what happened in the process's ledger since the last call."""
        with self._lock:
            now = dict(ledger.counters)  # compared sooner than counters are
            if now != self._seen:
                for key, metric in self._ledger.items():
                    metric.inc(max(0, now.get(key, 0) - self._seen.get(key, 0)))
                self._seen = now
        self._ledger_bytes.set(ledger.num_bytes)

    def count_odd_history(self, kinds: Counter[str]) -> None:
        """Take over what was odd in the process's histories since the last call, by kind."""
        with self._lock:
            now = Counter(kinds)
            for kind, number in (now - self._seen_odd).items():
                self._odd.labels(kind).inc(number)
            self._seen_odd = now


class AnswerMetrics:
    """The Prometheus objects for what the model wrote; make one only (`answer_metrics`)."""

    def __init__(self) -> None:
        import prometheus_client

        self._repairs = prometheus_client.Counter(
            f"{_PREFIX}output_repairs",
            "Things in the model's output that were repaired or dropped",
            ["kind"],
        )
        for kind in (*Repair, CUT_CALL_LEFT_OUT):
            self._repairs.labels(str(kind))  # an operator sees those that never happened, too
        self._misses = prometheus_client.Counter(
            f"{_PREFIX}schema_misses",
            "Calls and answers that break a keyword which their grammar could not hold",
            ["keyword"],
        )

    def count_repairs(self, kinds: Mapping[str, int]) -> None:
        """Count what the parser of one answer repaired or dropped, by `Repair`."""
        for kind, number in kinds.items():
            self._repairs.labels(str(kind)).inc(number)

    def count_miss(self, keyword: str) -> None:
        """Count a call or an answer that breaks its schema."""
        self._misses.labels(keyword).inc()


@cache
def answer_metrics() -> AnswerMetrics:
    """Return the process's metrics of answers; the first call makes them."""
    return AnswerMetrics()


@cache
def prompt_metrics() -> PromptMetrics:
    """Return the process's metrics; the first call makes them."""
    return PromptMetrics(is_ledger_shared=environment.ledger_path() is not None)
