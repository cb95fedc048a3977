"""One answer held to a client's regex, EBNF or structural tag, which xgrammar compiles and runs."""

from collections import deque
from dataclasses import dataclass
from typing import Any

from .json_matcher import MAX_ROLLBACK
from .masks import Bitmask, MaskVocabulary


@dataclass(frozen=True)
class TextGrammar:
    """A compiled grammar; compiled: xgrammar.CompiledGrammar."""

    masks: MaskVocabulary
    compiled: Any
    relaxed: tuple[tuple[str, str], ...] = ()
    num_shortest: int = 0

    @property
    def num_bytes(self) -> int:
        """Return the memory that the grammar takes."""
        return int(self.compiled.memory_size_bytes)

    def matcher(self, stop_ids: tuple[int, ...]) -> "TextMatcher":
        """Return a matcher at the start of the text, which ends by one of `stop_ids`."""
        return TextMatcher(self, stop_ids)


class TextMatcher:
    """The state of one text. Made by `TextGrammar.matcher`."""

    def __init__(self, grammar: TextGrammar, stop_ids: tuple[int, ...]) -> None:
        from xgrammar import GrammarMatcher

        self._matcher = GrammarMatcher(grammar.compiled, override_stop_tokens=list(stop_ids))
        self._accepted: deque[int] = deque(maxlen=MAX_ROLLBACK)

    def is_terminated(self) -> bool:
        """Return whether a stop token was accepted."""
        return bool(self._matcher.is_terminated())

    def is_complete(self) -> bool:
        """Return whether the text may end here."""
        return bool(self._matcher.is_completed())

    def accept(self, token_id: int) -> bool:
        """Take one token; return False, and stay, if the grammar doesn't allow it."""
        if not self._matcher.accept_token(token_id):
            return False
        self._accepted.append(token_id)
        return True

    def rollback(self, num_tokens: int) -> None:
        """Take back the last tokens. Raises ValueError if so many aren't kept."""
        if num_tokens > len(self._accepted):
            raise ValueError(f"num_tokens: got {num_tokens}, want at most {len(self._accepted)}")
        if num_tokens:
            self._matcher.rollback(num_tokens)
        for _ in range(num_tokens):
            self._accepted.pop()

    def fill(self, bitmask: Bitmask, row: int, num_left: int | None) -> None:
        """Write the allowed next tokens into a row; the room isn't looked at."""
        del num_left
        self._matcher.fill_next_token_bitmask(bitmask, row)
