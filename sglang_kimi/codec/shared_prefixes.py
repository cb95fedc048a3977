"""The encoded prefixes of a process, and what hangs on them and changes as conversations go on."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .choices import Choices
from .ledger import Candidates
from .prefix_cache import PrefixCache
from .prefix_node import NodeMaker, PrefixNode
from .tool_call_ids import NativeIds
from .vocabulary import Vocabulary


class SharedPrefixes:
    """The cache, what makes its nodes, and their parts that change; thread-safe."""

    def __init__(self, vocabulary: Vocabulary, max_bytes: int) -> None:
        """Hold at most `max_bytes`, what is hung on the nodes included."""
        max_text_bytes = max(max_bytes, 0) // 8
        self.cache: PrefixCache[PrefixNode] = PrefixCache(max_bytes - max_text_bytes)
        self.maker = NodeMaker(vocabulary, max_text_bytes)
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        """Return the bytes in use."""
        return self.cache.num_bytes + self.maker.texts.num_bytes

    def choices_behind(self, node: PrefixNode, candidates: Candidates) -> Choices:
        """Return what was decided behind a prompt among just these candidates."""
        choices = node.choices
        if choices is not None and choices.version == candidates.version:
            return choices
        with self._lock:
            before = node.choices
            if before is not None and before.version == candidates.version:
                return before
            node.choices = choices = Choices(candidates, before)
            self.cache.grow(node, choices.num_bytes - (before.num_bytes if before else 0))
        return choices

    def take_ids(self, node: PrefixNode) -> NativeIds | None:
        """Return the naming of ids that was left behind a prefix, for one to go on with."""
        if node.native_ids is None:
            return None
        with self._lock:
            ids, node.native_ids = node.native_ids, None
        if ids is not None:
            self.cache.grow(node, -ids.num_bytes)
        return ids

    def replace_image(self, node: PrefixNode, image: Any, num_bytes: int) -> None:
        """Let a node have another image, which takes `num_bytes`."""
        with self._lock:
            added = num_bytes - node.image_bytes
            node.image, node.image_bytes = image, num_bytes
            self.cache.grow(node, added)

    def leave_ids(self, node: PrefixNode, ids: NativeIds) -> None:
        """Leave the naming of ids behind a prefix; nobody may use it any more but who takes it."""
        self.cache.grow(node, ids.num_bytes)
        with self._lock:
            before, node.native_ids = node.native_ids, ids
        if before is not None:
            self.cache.grow(node, -before.num_bytes)

    @contextmanager
    def changing(self, node: PrefixNode, choices: Choices) -> Iterator[None]:
        """Let one thread at a time change choices, and count what they then take."""
        with self._lock:
            num_bytes = choices.num_bytes
            yield
            if node.choices is choices:  # not replaced meanwhile
                self.cache.grow(node, choices.num_bytes - num_bytes)
