"""Where the release's tokenizer cuts a long text before it encodes (FORMAT section 2.3).

Ids differ at a cut, so equal ids need equal cuts. They are counted over a whole prompt, control
texts included, because that is what the reference path encodes: `TextCuts` carries the count on.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

_SLICE_CHARS: Final = 400_000
_RUN_CHARS: Final = 25_000
_RUN: Final = re.compile(r"\s+|\S+")  # for str patterns, \s is exactly str.isspace


class TextCuts:
    """Counts the characters of one prompt; give it every piece of the prompt's text in order.

    A new slice begins every 400,000 characters; within a slice, a run of only white space or only
    other characters is cut before it would pass 25,000.
    """

    __slots__ = ("_run_chars", "_run_is_space", "_slice_chars")

    def __init__(self) -> None:
        """Start at the beginning of a prompt."""
        self._slice_chars = 0
        self._run_chars = 0
        self._run_is_space = False

    def copy(self) -> "TextCuts":
        """Return a count that goes on from here by itself."""
        other = TextCuts()
        other._slice_chars = self._slice_chars
        other._run_chars = self._run_chars
        other._run_is_space = self._run_is_space
        return other

    def pieces(self, text: str) -> list[str]:
        """Return `text` cut into what is encoded alone, and count its characters."""
        if not self.would_cut(len(text)):
            self._count_last_run(text)
            self._slice_chars += len(text)
            return [text] if text else []
        borders = [0, *self._cut(text), len(text)]
        return [text[i:j] for i, j in pairwise(borders) if i < j]

    def would_cut(self, num_chars: int) -> bool:
        """Say whether a text of so many characters might be cut here."""
        return (
            self._slice_chars + num_chars > _SLICE_CHARS or self._run_chars + num_chars > _RUN_CHARS
        )

    def _count_last_run(self, text: str) -> None:
        if not text:
            return
        is_space = text[-1].isspace()
        length = _trailing(text, is_space)
        if length == len(text) and is_space == self._run_is_space:
            length += self._run_chars
        self._run_chars, self._run_is_space = length, is_space

    def _cut(self, text: str) -> list[int]:
        cuts: list[int] = []
        start = 0
        while start < len(text):
            if self._slice_chars == _SLICE_CHARS:
                cuts.append(start)
                self._slice_chars = self._run_chars = 0
            end = min(len(text), start + _SLICE_CHARS - self._slice_chars)
            self._slice_chars += end - start
            for run_start, run_end in _runs_that_count(text, start, end):
                if run_start > start:  # not the run that went on from before
                    self._run_chars = 0
                cuts += self._cut_run(run_start, run_end, text[run_start].isspace())
            start = end
        return cuts

    def _cut_run(self, start: int, end: int, is_space: bool) -> range:
        if is_space != self._run_is_space:
            self._run_chars, self._run_is_space = 0, is_space
        cuts = range(start + _RUN_CHARS - self._run_chars, end, _RUN_CHARS)
        self._run_chars = end - cuts[-1] if cuts else self._run_chars + end - start
        return cuts


def _runs_that_count(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of the first run, the last one, and every one that is too long.

    A run longer than the limit covers one of the places that lie the limit apart, so only those are
    looked at: texts are long, and almost all their runs are words.
    """
    done = start
    for place in (*range(start, end, _RUN_CHARS), end - 1):
        if place >= done:
            run = _RUN.match(text, place, end)
            assert run is not None  # every character is white space or is not
            run_start = place - _trailing(text[done:place], text[place].isspace())
            done = run.end()
            yield run_start, done


def _trailing(text: str, is_space: bool) -> int:
    """Return the length of the run of white space, or of anything else, that ends the text."""
    if is_space:
        return len(text) - len(text.rstrip())
    return 0 if not text or text[-1].isspace() else len(text.rsplit(None, 1)[-1])
