"""A JSON schema's grammar, compiled by llguidance, with what the texts held to it share.

Texts are copies of one compiled matcher. The copies share the states of its lexer, which grow with
use and fail for all of them at a limit; then, or before it, the grammar is compiled anew.
"""

import logging
import re
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from .json_close import CloseFinder
from .json_matcher import JsonMatcher
from .json_schema import SchemaGrammar
from .masks import MaskVocabulary

logger = logging.getLogger(__name__)

# Tokens within one mask or one match may not meet llguidance's own limits: they are for strangers'
# grammars, while ours are bounded by their writer.
_LIMITS: Mapping[str, Any] = {
    "initial_lexer_fuel": 50_000_000,
    "step_lexer_fuel": 20_000_000,
    "step_max_items": 1_000_000,
    "max_items_in_row": 20_000,
    "max_lexer_states": 120_000,
    "max_grammar_size": 5_000_000,
    "verbose_errors": False,
}
# Without this llguidance allows one spelling only, in tokens, of text that is forced.
_OPTIONS = '%llguidance {"no_forcing": true}\n'
_RENEW_TOKENS = 200_000
_GROWTH_MARKS = 8
"""Tokens beside key and value: colon, comma, a character that an escape spells."""

# Measured growth of the process, in bytes: a grammar, a byte of its text, each of its first tokens
# (they meet most of the lexer's states), each later token, and each place of a counted repetition.
_BASE_BYTES = 50_000
_BYTES_PER_TEXT = 12
_NUM_FIRST_TOKENS = 400
_BYTES_PER_FIRST_TOKEN = 2_500
_BYTES_PER_TOKEN = 150
_BYTES_PER_PLACE = 2_700


class JsonGrammar:
    """One schema's grammar over one vocabulary. Raises ValueError if it can't be compiled."""

    def __init__(self, masks: MaskVocabulary, written: SchemaGrammar) -> None:
        self.masks = masks
        self.relaxed = written.relaxed
        self._text = _OPTIONS + written.text
        self._lock = threading.Lock()
        self._prototype = self._compile()
        self.num_taken = 0
        """Tokens that texts took since it was compiled: the lexer's states grow with them."""
        self.finder = CloseFinder(masks, written)
        self.shortest = self._tokens_of_shortest(written.shortest)
        self.growth = self._growth_in_tokens(written)

    @property
    def num_shortest(self) -> int:
        """Return the number of tokens of the shortest known text, 0 if none is known."""
        return 0 if self.shortest is None else len(self.shortest)

    @property
    def num_bytes(self) -> int:
        """Return an estimate of the memory that the grammar takes; it grows with use."""
        num_first = min(self.num_taken, _NUM_FIRST_TOKENS)
        num_places = min(self._num_places, self.num_taken)
        return (
            _BASE_BYTES
            + _BYTES_PER_TEXT * len(self._text)
            + _BYTES_PER_FIRST_TOKEN * num_first
            + _BYTES_PER_TOKEN * self.num_taken
            + _BYTES_PER_PLACE * num_places
        )

    @cached_property
    def _num_places(self) -> int:
        """Return the largest count of a repetition in the grammar."""
        counts = re.findall(r"\{\d*,?(\d+)\}", self._text)
        return max(map(int, counts), default=0)

    def matcher(self, stop_ids: tuple[int, ...]) -> JsonMatcher:
        """Return a matcher at the start of a text, which ends by one of `stop_ids`."""
        return JsonMatcher(self, stop_ids)

    def start(self) -> Any:
        """Return a new LLMatcher at the start of a text."""
        with self._lock:
            if self.num_taken > _RENEW_TOKENS:
                self._prototype, self.num_taken = self._compile(), 0
            return self._prototype.deep_copy()

    def restart(self, token_ids: list[int]) -> Any | None:
        """Return a new LLMatcher after these tokens, None if even a new one fails.

        For a matcher that met a limit; its lexer is given up.
        """
        with self._lock:
            self._prototype, self.num_taken = self._compile(), 0
            matcher = self._prototype.deep_copy()
        if token_ids and matcher.try_consume_tokens(token_ids) != len(token_ids):
            return None
        return matcher

    def _compile(self) -> Any:
        from llguidance import LLMatcher, LLParserLimits

        limits = LLParserLimits(**_LIMITS)
        matcher = LLMatcher(self.masks.ll_tokenizer, self._text, log_level=0, limits=limits)
        if matcher.is_error():
            raise ValueError(f"grammar: can't be compiled: {matcher.get_error()}")
        return matcher

    def _tokens_of_shortest(self, shortest: str | None) -> tuple[int, ...] | None:
        if shortest is None:
            return None
        tokens = tuple(self.masks.tokens(shortest.encode()))
        if self.finder.is_close(self._prototype, tokens):
            return tokens
        logger.warning("The shortest instance %.200s isn't taken by its own grammar", shortest)
        return self.finder.find(self._prototype, b"", num_walks=16)

    def _growth_in_tokens(self, written: SchemaGrammar) -> int:
        """Return tokens by which one more key, value or constant may lengthen the close."""
        longest = max((len(hint.encode()) for hint in written.hints), default=0)
        texts = [*written.hints, *written.instances, written.shortest or "", '"abcdefgh"']
        ratios = (
            self.masks.num_tokens(text.encode()) / len(text.encode())
            for text in texts
            if len(text) > 8
        )
        num_tokens = max(ratios) * (written.growth + longest)  # a key and its value
        return _GROWTH_MARKS + int(min(num_tokens, written.growth + longest))
