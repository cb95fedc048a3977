"""Texts that were encoded before, wherever they stand now.

A client that edits or drops a message changes every prefix behind it, and the texts there are those
of before. Kept per tenant: the time that a text takes must not tell one what another has written.
"""

import sys
import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from .cuts import TextCuts
from .vocabulary import Vocabulary

_MIN_CHARS: Final = 256
"""A shorter text is encoded sooner than it is worth its place."""
_PLACE_BYTES: Final = 400


class EncodedTexts:
    """Least recently used out first; thread-safe."""

    def __init__(self, vocabulary: Vocabulary, max_bytes: int) -> None:
        """Hold at most `max_bytes` of texts and their ids."""
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._vocabulary = vocabulary
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[str, str], array[int]] = OrderedDict()

    def encode(self, tenant: str, text: str, cuts: TextCuts) -> Sequence[int]:
        """Return what `Vocabulary.encode_text` does, and let `cuts` go on behind the text."""
        if len(text) < _MIN_CHARS or cuts.would_cut(len(text)):
            return self._vocabulary.encode_text(text, cuts)
        key = (tenant, text)
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
        if held is not None:
            cuts.pieces(text)  # counts it
            return held
        token_ids = self._vocabulary.encode_text(text, cuts)
        self._keep(key, array("I", token_ids))
        return token_ids

    def _keep(self, key: tuple[str, str], token_ids: "array[int]") -> None:
        with self._lock:
            if key in self._held:
                return
            self._held[key] = token_ids
            self.num_bytes += _num_bytes(key, token_ids)
            while self.num_bytes > self.max_bytes:
                self.num_bytes -= _num_bytes(*self._held.popitem(last=False))


def _num_bytes(key: tuple[str, str], token_ids: "array[int]") -> int:
    return _PLACE_BYTES + sys.getsizeof(key[1]) + token_ids.itemsize * len(token_ids)
