"""What an operator sees of the grammars of a scheduler at `/metrics`.

Made in scheduler processes, whose values SGLang's HTTP process gathers from files.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sglang_kimi.parsers.grammars.grammar_cache import CacheUse

logger = logging.getLogger(__name__)

_PREFIX: Final = "sglang_kimi_grammar_cache_"
_MAX_TOLD: Final = 4096


class GrammarMetrics:
    """The Prometheus objects of one scheduler; make one only."""

    def __init__(self) -> None:
        import prometheus_client  # chooses its storage when it is first imported

        def gauge(name: str, text: str) -> Any:
            return prometheus_client.Gauge(_PREFIX + name, text, multiprocess_mode="livesum")

        self._grammars = gauge("entries", "Compiled schemas that are kept")
        self._bytes = gauge("bytes", "Bytes of compiled schemas that are kept")
        self._limit = gauge("limit_bytes", "Bytes that compiled schemas may take")
        self._evictions = prometheus_client.Counter(
            f"{_PREFIX}evictions", "Compiled schemas that were dropped for room"
        )
        self._hits = prometheus_client.Counter(f"{_PREFIX}hits", "Requests whose grammar was there")
        self._misses = prometheus_client.Counter(
            f"{_PREFIX}misses", "Requests whose grammar had to be made of its schemas"
        )
        self._relaxed = prometheus_client.Counter(
            "sglang_kimi_schema_relaxed",
            "Keywords of schemas that no grammar can hold, once for each place and schema",
            ["keyword"],
        )
        self._num_evictions = 0
        self._told: set[tuple[str, str, str]] = set()

    def count_request(self, *, is_hit: bool) -> None:
        """Count a request with a grammar."""
        (self._hits if is_hit else self._misses).inc()

    def show_use(self, use: CacheUse) -> None:
        """Show what the cache holds now."""
        self._grammars.set(use.num_grammars)
        self._bytes.set(use.num_bytes)
        self._limit.set(use.limit)
        self._evictions.inc(max(0, use.num_evictions - self._num_evictions))
        self._num_evictions = use.num_evictions

    def tell_relaxed(self, relaxed: Mapping[str, Sequence[tuple[str, str]]]) -> None:
        """Count and log, once for each, the keywords that are not held, by tool."""
        for owner, places in relaxed.items():
            new = [place for place in places if (owner, *place) not in self._told]
            if len(self._told) > _MAX_TOLD:
                self._told.clear()
            self._told.update((owner, *place) for place in new)
            for _, keyword in new:
                self._relaxed.labels(keyword).inc()
            if new:
                told = ", ".join(f"{keyword} at {pointer or '/'}" for pointer, keyword in new)
                logger.info("Not held by the grammar of %s, checked afterwards: %s", owner, told)
