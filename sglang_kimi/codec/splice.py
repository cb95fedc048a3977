"""Generated ids on their way back into a prompt: where the turn ends, and what its end lacks.

What was generated stays as it is. A turn that was cut gets the control tokens that close it, so
that the next turn's prompt begins with this turn's prompt and output.
"""

from collections.abc import Sequence
from typing import Final

from sglang_kimi.parsers.vocabulary import (
    ARGUMENT_BEGIN,
    CALL_BEGIN,
    CALL_END,
    EOS,
    SECTION_BEGIN,
    SECTION_END,
    THINK_CLOSE,
    THINK_OPEN,
    TURN_END,
    TokenVocabulary,
)

_STOPS: Final = (TURN_END, EOS)


def is_complete(vocabulary: TokenVocabulary, token_ids: Sequence[int]) -> bool:
    """Tell whether a stop token ended the turn."""
    return _end(vocabulary, token_ids) > 0


def spliced(vocabulary: TokenVocabulary, token_ids: Sequence[int]) -> tuple[list[int], int]:
    """Return a turn's ids for a history, closed, and how many of them were generated.

    Behind a stop token nothing counts: no client has seen it.
    """
    end = _end(vocabulary, token_ids)
    if end and vocabulary.control_text(token_ids[end - 1]) == TURN_END:
        return list(token_ids[:end]), end
    generated = list(token_ids[:end] if end else token_ids)
    missing = [TURN_END] if end else _Tail(vocabulary, generated).missing()
    return generated + [vocabulary.control_id(text) for text in missing], len(generated)


def continued(
    vocabulary: TokenVocabulary, token_ids: Sequence[int]
) -> tuple[list[int], int] | None:
    """Return a turn's ids up to the end of its content, to be gone on with, like `spliced`.

    None where they end in a section of calls: content cannot go on from there.
    """
    end = _end(vocabulary, token_ids)
    generated = list(token_ids[: end - 1] if end else token_ids)
    missing = _Tail(vocabulary, generated).missing()[:-1]  # all but the turn's end
    if missing not in ([], [THINK_CLOSE]):
        return None
    return generated + [vocabulary.control_id(text) for text in missing], len(generated)


def num_thinking_tokens(vocabulary: TokenVocabulary, token_ids: Sequence[int]) -> int:
    """Return how many ids a generated turn begins with that are thinking."""
    enders = {vocabulary.control_id(text) for text in (THINK_CLOSE, SECTION_BEGIN, *_STOPS)}
    for position, token_id in enumerate(token_ids):
        if token_id in enders:
            return position
    return len(token_ids)


def _end(vocabulary: TokenVocabulary, token_ids: Sequence[int]) -> int:
    """Return the number of ids up to the first stop token, itself included; 0 without one."""
    stops = {vocabulary.control_id(text) for text in _STOPS}
    if token_ids[-1] in stops and stops.isdisjoint(token_ids[:-1]):
        return len(token_ids)  # almost always
    return next((i for i, token_id in enumerate(token_ids, start=1) if token_id in stops), 0)


class _Tail:
    """Which blocks are open where a turn was cut."""

    def __init__(self, vocabulary: TokenVocabulary, token_ids: Sequence[int]) -> None:
        self._is_thinking = True
        self._in_section = False
        self._open_call: str | None = None  # the marker that began what is open of it
        for token_id in token_ids:
            if token_id >= vocabulary.num_ranks:
                self._read(vocabulary.control_text(token_id) or "")

    def missing(self) -> list[str]:
        """Return the control tokens that close the turn."""
        texts = [ARGUMENT_BEGIN] if self._open_call == CALL_BEGIN else []
        if self._open_call:
            texts.append(CALL_END)
        if self._in_section:
            texts.append(SECTION_END)
        elif self._is_thinking and not self._open_call:
            texts.append(THINK_CLOSE)
        return [*texts, TURN_END]

    def _read(self, marker: str) -> None:
        if marker == THINK_OPEN:
            self._is_thinking = self._open_call is None
        elif marker == THINK_CLOSE:
            self._is_thinking = False
        elif marker == SECTION_BEGIN:
            self._is_thinking, self._in_section = False, True
        elif marker == SECTION_END:
            self._in_section, self._open_call = False, None
        elif marker in (CALL_BEGIN, ARGUMENT_BEGIN):
            self._open_call = marker
        elif marker == CALL_END:
            self._open_call = None
