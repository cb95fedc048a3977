"""The tree of prefixes by itself: what is found, what goes, and that the bytes add up."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from sglang_kimi.codec.prefix_cache import CachedNode, PrefixCache


def held(cache: PrefixCache[CachedNode]) -> list[CachedNode]:
    """Return all nodes that can be found."""
    found: list[CachedNode] = []
    level = [cache.root]
    while level:
        level = [child for node in level for child in node.children.values()]
        found += level
    return found


def assert_adds_up(cache: PrefixCache[CachedNode]) -> None:
    nodes = held(cache)
    place = PrefixCache[CachedNode](10**9)
    place.add(place.root, CachedNode("x", 0))
    assert cache.num_bytes == sum(node.num_bytes + place.num_bytes for node in nodes)
    assert len(cache) == len(nodes) and cache.num_bytes <= cache.max_bytes
    assert all(node.is_held for node in nodes)


def grown(cache: PrefixCache[CachedNode], keys: str) -> CachedNode:
    node = cache.root
    for key in keys:
        node = cache.find(node, key) or cache.add(node, CachedNode(key, 1000))
    cache.use(node)
    return node


def test_a_child_is_found_behind_its_own_parent_alone() -> None:
    cache = PrefixCache[CachedNode](10**6)
    ab, ac = grown(cache, "ab"), grown(cache, "ac")
    assert ab.parent is ac.parent and ab.parent is not None
    assert cache.find(ab.parent, "b") is ab and cache.find(ab.parent, "c") is ac
    assert cache.last_child(ab.parent) is ac
    assert cache.find(ac, "b") is None and cache.find(ab.parent, "d") is None


def test_the_first_of_two_equal_children_stays() -> None:
    cache = PrefixCache[CachedNode](10**6)
    first = cache.add(cache.root, CachedNode("a", 10))
    assert cache.add(cache.root, CachedNode("a", 10)) is first
    assert_adds_up(cache)


def test_a_conversation_goes_from_its_end_on_and_shared_beginnings_stay() -> None:
    cache = PrefixCache[CachedNode](9000)
    grown(cache, "abc")
    grown(cache, "axy")
    for number in range(10):
        grown(cache, "axy")
        grown(cache, f"z{number}")
        assert cache.find(cache.root, "a") is not None
        assert_adds_up(cache)
    a = cache.find(cache.root, "a")
    assert a is not None and set(a.children) == {"x"}


def test_a_shorter_history_that_is_in_use_outlives_its_old_ends() -> None:
    cache = PrefixCache[CachedNode](9000)
    grown(cache, "abcd")
    for number in range(20):
        grown(cache, "ab")
        grown(cache, f"{number}")
    assert "b" in cache.root.children["a"].children


def test_behind_a_prefix_that_is_gone_nothing_is_held() -> None:
    cache = PrefixCache[CachedNode](4000)
    old = grown(cache, "ab")
    for number in range(5):
        grown(cache, f"{number}")
    assert not old.is_held
    node = CachedNode("c", 1000)
    assert cache.add(old, node) is node and not node.is_held
    assert_adds_up(cache)


@pytest.mark.parametrize("max_bytes", [0, 2000, 20_000])
def test_the_bytes_add_up_whatever_happens(max_bytes: int) -> None:
    cache, chance = PrefixCache[CachedNode](max_bytes), random.Random(max_bytes)
    known: list[CachedNode] = [cache.root]
    for _ in range(3000):
        node = chance.choice(known)
        match chance.randrange(4):
            case 0 | 1:
                key = chance.choice("abcdef")
                known.append(cache.find(node, key) or cache.add(node, CachedNode(key, 500)))
            case 2 if node is not cache.root:
                cache.grow(node, chance.choice((-100, 300)))
            case _:
                cache.use(node)
        known = known[-50:] if known[0] is cache.root else [cache.root, *known[-50:]]
    assert_adds_up(cache)


def test_the_bytes_add_up_among_threads() -> None:
    cache = PrefixCache[CachedNode](60_000)

    def run(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(2000):
            node = grown(cache, "".join(chance.choice("abcd") for _ in range(chance.randrange(6))))
            if node is not cache.root:
                cache.grow(node, 5)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))
    assert len(cache) > 10
    assert_adds_up(cache)
