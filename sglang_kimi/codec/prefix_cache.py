"""A bounded tree of encoded prefixes: what was encoded once behind a prefix is not encoded again.

A node's children are the segments that were seen behind it, so conversations share what they have
in common. The usual way is from each node to the child that was asked for last, whose key is
compared: comparing a text costs a tenth of hashing it. Knows nothing of messages; `conversation`
decides what the keys are.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from itertools import count
from typing import Final, Generic, TypeVar

_PLACE_BYTES: Final = 500
"""A place in the tree, beside key and node: tables of children and of leaves."""


class CachedNode:
    """What the tree holds; the fields are the cache's.

    key:       tells the node from its parent's other children.
    num_bytes: what the node and its key take, places in the tree left out.
    """

    __slots__ = ("children", "is_held", "key", "last_child", "last_use", "num_bytes", "parent")

    def __init__(self, key: Hashable, num_bytes: int) -> None:
        self.key = key
        self.num_bytes = num_bytes
        self.parent: CachedNode | None = None
        self.children: dict[Hashable, CachedNode] = {}
        self.last_child: CachedNode | None = None
        self.last_use = 0
        self.is_held = False


N = TypeVar("N", bound=CachedNode)


class PrefixCache(Generic[N]):
    """Least recently used out first, a conversation from its end on; thread-safe.

    All nodes are of one class N, but for the root, which stands before all prefixes.
    """

    def __init__(self, max_bytes: int) -> None:
        """Hold at most `max_bytes`."""
        if max_bytes < 0:
            raise ValueError(f"max_cache_bytes: want 0 or more, got {max_bytes}")
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self.root = CachedNode("", 0)
        self.root.is_held = True
        self._lock = threading.Lock()
        self._uses = count(1)
        self._leaves: OrderedDict[CachedNode, None] = OrderedDict()
        self._num_nodes = 0

    def __len__(self) -> int:
        """Return the number of nodes, the root left out."""
        return self._num_nodes

    def find(self, parent: CachedNode, key: Hashable) -> N | None:
        """Return the child with that key, without counting that as use."""
        child = parent.last_child
        if child is None or child.key != key:
            if key not in parent.children:
                return None
            with self._lock:
                child = parent.children.get(key)
                parent.last_child = child
        return child  # type: ignore[return-value]  # only N are added

    def last_child(self, parent: CachedNode) -> N | None:
        """Return the child that was asked for or added last, if it is still there."""
        return parent.last_child  # type: ignore[return-value]  # only N are added

    def add(self, parent: CachedNode, node: N) -> N:
        """Hold a child and return it, or the one that another thread has put there before.

        Behind a prefix that was put out meanwhile nothing is held.
        """
        with self._lock:
            if not parent.is_held:
                return node
            held = parent.children.setdefault(node.key, node)
            parent.last_child = held
            if held is node:
                self._hold(parent, node)
                self._shrink()
        return held  # type: ignore[return-value]  # only N are added

    def grow(self, node: CachedNode, num_bytes: int) -> None:
        """Count what a node came to hold, or holds no more where `num_bytes` is negative."""
        with self._lock:
            node.num_bytes += num_bytes
            if node.is_held:
                self.num_bytes += num_bytes
                self._shrink()

    def use(self, last: CachedNode) -> None:
        """Note the use of a whole prefix, given by its last node."""
        with self._lock:
            last.last_use = next(self._uses)
            if last in self._leaves:
                self._leaves.move_to_end(last)

    def _hold(self, parent: CachedNode, node: CachedNode) -> None:
        node.parent, node.is_held, node.last_use = parent, True, next(self._uses)
        self._leaves.pop(parent, None)
        self._leaves[node] = None
        self._num_nodes += 1
        self.num_bytes += _PLACE_BYTES + node.num_bytes

    def _shrink(self) -> None:
        while self.num_bytes > self.max_bytes and self._leaves:
            self._drop(self._leaves.popitem(last=False)[0])

    def _drop(self, leaf: CachedNode) -> None:
        parent = leaf.parent
        assert parent is not None
        leaf.parent, leaf.is_held = None, False
        del parent.children[leaf.key]
        if parent.last_child is leaf:
            parent.last_child = None
        self._num_nodes -= 1
        self.num_bytes -= _PLACE_BYTES + leaf.num_bytes
        if not parent.children and parent is not self.root:
            self._leaves[parent] = None
            # Goes next, unless it was itself the end of a conversation that was used since.
            self._leaves.move_to_end(parent, last=parent.last_use > leaf.last_use)
