"""Short texts of a language, and whether it has any: a walk over derivatives, shortest way first.

The derivative of a language by a character is what may follow that character in it.
"""

import heapq
from typing import Final, NamedTuple

from .chars import ANY_CHAR, Ranges, complement, intersect
from .regex_language import (
    EMPTY,
    NOTHING,
    Both,
    Chars,
    Concat,
    Either,
    Language,
    Not,
    Repeat,
    both,
    concat,
    either,
    length_bounds,
    negation,
    repeat,
)

_MAX_SETS: Final = 12
_STATES_AFTER_FIRST: Final = 64  # looked at for more texts once there is one
_PLEASANT: Final[tuple[Ranges, ...]] = (
    ((0x61, 0x7A),),
    ((0x30, 0x39),),
    ((0x41, 0x5A),),
    ((0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7E)),
    ((0xA1, 0xD7FF), (0xE000, 0xFFFD)),
)


class Found(NamedTuple):
    """What a walk has found.

    texts: members of the language, shortest first. is_whole: every state was visited, so that
    without texts the language is empty.
    """

    texts: tuple[str, ...]
    is_whole: bool


def find_texts(language: Language, *, max_texts: int = 4, max_states: int = 2000) -> Found:
    """Return short members of the language, each ending in another way.

    max_states: how many derivatives are looked at before the walk is given up.
    """
    derivatives = Derivatives()
    texts = [""] if language.is_nullable else []
    seen = {language}
    # The least length a text through the state can have, how far it is, the order of finding.
    queue: list[tuple[int, int, int, str, Language]] = [(0, 0, 0, "", language)]
    num_more = _STATES_AFTER_FIRST
    while queue and len(texts) < max_texts and num_more:
        num_more -= bool(texts)
        *_, text, state = heapq.heappop(queue)
        for char in representatives(state):
            after = derivatives.by(state, char)
            if after == NOTHING:
                continue
            if after.is_nullable and len(texts) < max_texts:
                texts.append(text + char)
            if after not in seen and len(seen) < max_states:
                seen.add(after)
                least = len(text) + 1 + length_bounds(after)[0]
                heapq.heappush(queue, (least, -len(text), len(seen), text + char, after))
    return Found(tuple(texts), len(seen) < max_states)


class Derivatives:
    """Derivatives, remembered."""

    def __init__(self) -> None:
        self._known: dict[tuple[Language, str], Language] = {}

    def by(self, language: Language, char: str) -> Language:
        """Return the texts t for which `char` + t is in the language."""
        known = self._known.get((language, char))
        if known is None:
            known = self._known[language, char] = self._derive(language, char)
        return known

    def _derive(self, language: Language, char: str) -> Language:
        match language:
            case Chars():
                code = ord(char)
                return EMPTY if any(a <= code <= b for a, b in language.ranges) else NOTHING
            case Concat():
                return self._of_sequence(language, char)
            case Either():
                return either(self.by(part, char) for part in language.parts)
            case Both():
                return both(self.by(part, char) for part in language.parts)
            case Not():
                return negation(self.by(language.part, char))
            case Repeat():
                high = None if language.high is None else language.high - 1
                rest = repeat(language.part, max(language.low - 1, 0), high)
                return concat([self.by(language.part, char), rest])
        raise AssertionError(language)

    def _of_sequence(self, language: Concat, char: str) -> Language:
        ways = []
        for place, part in enumerate(language.parts):
            ways.append(concat([self.by(part, char), *language.parts[place + 1 :]]))
            if not part.is_nullable:
                break
        return either(ways)


def representatives(language: Language) -> list[str]:
    """Return one character of each kind that the language tells apart at its beginning."""
    atoms: list[Ranges] = [ANY_CHAR]
    sets: dict[Ranges, None] = {}
    _first_sets(language, sets)
    for ranges in list(sets)[:_MAX_SETS]:
        others = complement(ranges)
        halves = [(intersect(atom, ranges), intersect(atom, others)) for atom in atoms]
        atoms = [half for pair in halves for half in pair if half]
    return [_pleasant(atom) for atom in atoms]


def _first_sets(language: Language, sets: dict[Ranges, None]) -> None:
    if isinstance(language, Chars):
        sets[language.ranges] = None
    elif isinstance(language, Concat):
        for part in language.parts:
            _first_sets(part, sets)
            if not part.is_nullable:
                break
    else:
        for part in language.children:
            _first_sets(part, sets)


def _pleasant(ranges: Ranges) -> str:
    for wish in _PLEASANT:
        if found := intersect(ranges, wish):
            return chr(found[0][0])
    return chr(ranges[0][0])
