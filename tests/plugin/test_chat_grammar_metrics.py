"""Operators see what the grammars' cache holds and what no grammar can hold."""

import json
import logging
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from sglang_kimi.chat.grammar_backend import KimiGrammarBackend
from sglang_kimi.chat.grammar_key import ToolCallTag
from sglang_kimi.chat.grammar_metrics import GrammarMetrics
from sglang_kimi.codec.vocabulary import Vocabulary

UNIQUE = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}


@pytest.fixture(scope="module")
def metrics():
    return GrammarMetrics()


@pytest.fixture
def backend(metrics, mini_checkpoint):
    vocabulary = Vocabulary.load(mini_checkpoint)
    return KimiGrammarBackend(vocabulary, vocabulary.size, metrics)


def value(name, **labels):
    return REGISTRY.get_sample_value(f"sglang_kimi_{name}", labels) or 0


def use(backend, kind, text):
    grammar, is_hit = backend.get_cached_or_future_value((kind, text), True)
    if not is_hit:
        backend.set_cache((kind, text), grammar.result())
    return is_hit


def test_requests_are_counted_by_whether_their_grammar_was_there(backend):
    before = value("grammar_cache_hits_total"), value("grammar_cache_misses_total")
    assert [use(backend, "json", json.dumps(UNIQUE)) for _ in range(3)] == [False, True, True]
    now = value("grammar_cache_hits_total"), value("grammar_cache_misses_total")
    assert now == (before[0] + 2, before[1] + 1)


def test_the_cache_shows_its_size_and_its_limit(backend):
    use(backend, "json", json.dumps({"type": "object", "description": "size"}))
    assert value("grammar_cache_entries") >= 1
    assert 0 < value("grammar_cache_bytes") < value("grammar_cache_limit_bytes")


def test_evictions_are_counted_once(metrics):
    before = value("grammar_cache_evictions_total")
    state = SimpleNamespace(num_grammars=1, num_bytes=5, limit=6, num_evictions=3)
    for _ in range(2):
        metrics.show_use(state)
    assert value("grammar_cache_evictions_total") == before + 3


def test_a_keyword_that_is_not_held_is_logged_and_counted_once_for_a_schema(backend, caplog):
    caplog.set_level(logging.INFO, "sglang_kimi.chat.grammar_metrics")
    before = value("schema_relaxed_total", keyword="uniqueItems")
    tool = {"name": "sort_unique", "parameters": UNIQUE}
    for is_forced in (False, True):  # two grammars over one schema
        use(backend, "structural_tag", ToolCallTag(tools=(tool,), is_forced=is_forced).dumps())
    assert value("schema_relaxed_total", keyword="uniqueItems") == before + 1
    told = (
        "Not held by the grammar of sort_unique, checked afterwards: uniqueItems at /properties/a"
    )
    assert [record.getMessage() for record in caplog.records] == [told]
