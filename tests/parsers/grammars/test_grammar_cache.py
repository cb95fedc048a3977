"""Grammars are kept by content, the least recently used go first, and the use is counted."""

from dataclasses import dataclass
from typing import Any

from sglang_kimi.parsers.grammars import GrammarCompiler
from sglang_kimi.parsers.grammars.grammar_cache import GrammarCache

READ = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}


@dataclass
class Kept:
    num_bytes: int


def test_the_least_recently_used_go_first() -> None:
    cache: GrammarCache[Kept] = GrammarCache(100)
    first, second = cache.get("a", lambda: Kept(40)), cache.get("b", lambda: Kept(40))
    assert cache.get("a", lambda: Kept(1)) is first
    cache.get("c", lambda: Kept(40))
    assert cache.get("a", lambda: Kept(1)) is first
    assert cache.get("b", lambda: Kept(40)) is not second
    assert cache.use == (2, 80, 100, 2, 4, 2)


def test_what_grew_with_use_counts_as_it_is_now() -> None:
    cache: GrammarCache[Kept] = GrammarCache(100)
    cache.get("a", lambda: Kept(10)).num_bytes = 90
    assert cache.use.num_bytes == 90
    cache.get("b", lambda: Kept(20))
    assert cache.use.num_grammars == 1


def test_one_that_is_larger_than_the_limit_is_kept_alone() -> None:
    cache: GrammarCache[Kept] = GrammarCache(100)
    cache.get("a", lambda: Kept(10))
    big = cache.get("b", lambda: Kept(1000))
    assert cache.get("b", lambda: Kept(1)) is big
    assert cache.use.num_grammars == 1


def test_equal_schemas_share_a_grammar_and_the_memory_is_bounded(
    make_tool: Any, driver: Any
) -> None:
    compiler = GrammarCompiler(driver.vocabulary, cache_bytes=200_000)
    first = compiler.tool_calls([make_tool("a", READ)], is_forced=True)
    again = compiler.tool_calls([make_tool("b", {**READ})], is_forced=False)
    assert again.arguments["b"] is first.arguments["a"]
    for number in range(30):
        schema = {"type": "object", "properties": {f"key{number}": {"type": "string"}}}
        compiler.tool_calls([make_tool("a", schema)], is_forced=True)
    use = compiler.cache_use
    assert 0 < use.num_bytes <= use.limit == 200_000
    assert (use.num_hits, use.num_misses) == (1, 31)
    assert use.num_evictions == 31 - use.num_grammars


def test_values_that_differ_in_type_alone_are_kept_apart(make_tool: Any, driver: Any) -> None:
    compiler = GrammarCompiler(driver.vocabulary)
    for constant in (1, True, "1", 1.5):
        schema = {"type": "object", "properties": {"a": {"const": constant}}}
        compiler.tool_calls([make_tool("t", schema)], is_forced=True)
    assert compiler.cache_use.num_misses == 4


def test_what_a_grammar_does_not_hold_is_named_by_tool(make_tool: Any, driver: Any) -> None:
    loose = {"type": "object", "properties": {"a": {"type": "string", "pattern": r"(a|b)\1"}}}
    tools = [make_tool("loose", loose), make_tool("strict", READ)]
    grammar = driver.compiler.tool_calls(tools, is_forced=True)
    assert grammar.relaxed == {"loose": (("/properties/a", "pattern"),)}
    assert driver.compiler.json_schema(loose).relaxed == (("/properties/a", "pattern"),)
    assert driver.compiler.regex("a").relaxed == ()
