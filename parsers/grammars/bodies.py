"""What may follow the thinking: anything, or one text held to a grammar.

A body is the part of a turn after `</think>`. `turn.TurnMatcher` counts the thinking and hands
every later token to a body; `calls.CallsBody` is the body that makes tool calls.
"""

from typing import Protocol

from ..vocabulary import SECTION_BEGIN
from .json_grammar import JsonGrammar
from .masks import Bitmask, MaskVocabulary
from .text_matcher import TextGrammar


class Body(Protocol):
    """The part of a turn after the thinking, at the state where its last token left it."""

    def accept(self, token_id: int) -> None:
        """Take one token; raises ValueError if it isn't allowed here."""

    def rollback(self, num_tokens: int) -> None:
        """Take back the last tokens."""

    def fill(self, bitmask: Bitmask, row: int, num_left: int | None) -> None:
        """Write the allowed next tokens; num_left: tokens there are, None = no limit known."""

    def is_terminated(self) -> bool:
        """Return whether the turn is complete."""


class BodyGrammar(Protocol):
    """Makes bodies for requests, and says what the turn must know beforehand."""

    @property
    def masks(self) -> MaskVocabulary:
        """Return the vocabulary."""

    @property
    def entry_ids(self) -> tuple[int, ...]:
        """Return control ids that end the thinking as `</think>` does, being the body's first."""

    @property
    def may_think_again(self) -> bool:
        """Return whether `<think>` in the body goes back to the thinking."""

    @property
    def num_reserved(self) -> int:
        """Return the tokens that must be left for the body, 0 if the thinking may use all."""

    def body(self, start_index: int) -> Body:
        """Return a body at its start; start_index: the next tool call's index."""


class FreeGrammar:
    """Allows everything: used where only the thinking is bounded."""

    may_think_again = True
    num_reserved = 0

    def __init__(self, masks: MaskVocabulary) -> None:
        self.masks = masks
        self.entry_ids = (masks.vocabulary.control_id(SECTION_BEGIN),)

    def body(self, start_index: int) -> Body:
        """Return a free body."""
        return _FreeBody(self.masks)


class _FreeBody:
    def __init__(self, masks: MaskVocabulary) -> None:
        self._masks = masks
        self._token_ids: list[int] = []

    def accept(self, token_id: int) -> None:
        self._token_ids.append(token_id)

    def rollback(self, num_tokens: int) -> None:
        if num_tokens:
            del self._token_ids[-num_tokens:]

    def fill(self, bitmask: Bitmask, row: int, num_left: int | None) -> None:
        bitmask[row].copy_(self._masks.all_ids)

    def is_terminated(self) -> bool:
        return bool(self._token_ids) and self._token_ids[-1] in self._masks.stop_ids


class AnswerGrammar:
    """Holds the whole answer to one grammar: response_format, regex, EBNF."""

    entry_ids: tuple[int, ...] = ()
    may_think_again = False

    def __init__(self, text: JsonGrammar | TextGrammar) -> None:
        self.text = text

    @property
    def relaxed(self) -> tuple[tuple[str, str], ...]:
        """Return the (JSON pointer, keyword) pairs of the schema that aren't held."""
        return self.text.relaxed

    @property
    def masks(self) -> MaskVocabulary:
        """Return the vocabulary."""
        return self.text.masks

    @property
    def num_reserved(self) -> int:
        """Return the tokens of the shortest answer and its stop token."""
        return self.text.num_shortest + 1

    def body(self, start_index: int) -> Body:
        """Return a body at the answer's first token."""
        return _AnswerBody(self.text)


class _AnswerBody:
    def __init__(self, text: JsonGrammar | TextGrammar) -> None:
        self._matcher = text.matcher(text.masks.stop_ids)

    def accept(self, token_id: int) -> None:
        if not self._matcher.accept(token_id):
            raise ValueError(f"token_id: {token_id} doesn't continue the answer's grammar")

    def rollback(self, num_tokens: int) -> None:
        self._matcher.rollback(num_tokens)

    def fill(self, bitmask: Bitmask, row: int, num_left: int | None) -> None:
        self._matcher.fill(bitmask, row, num_left)

    def is_terminated(self) -> bool:
        return self._matcher.is_terminated()
