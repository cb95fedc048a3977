"""Patterns as languages of whole texts: the search, the anchors and the looks worked out.

A pattern is taken apart into sequences of languages with places between them (`^`, `\\b`, looks).
A place that speaks of the character beside it changes the language there; a longer look becomes
the intersection with all that follows or precedes it. What has no such form makes the language
wider, and `is_exact` tells.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, NamedTuple

from . import regex_syntax as syntax
from .chars import CharClass, Ranges, negate, union
from .regex_language import (
    ANY,
    ANY_TEXT,
    EMPTY,
    NOTHING,
    Chars,
    Language,
    both,
    concat,
    either,
    negation,
    repeat,
    with_first,
    with_last,
)

_MAX_SEQUENCES: Final = 256
_MAX_COPIES: Final = 4


class Searched(NamedTuple):
    """The texts in which a pattern is found; `is_exact` False: and some in which it isn't."""

    language: Language
    is_exact: bool


@dataclass(frozen=True)
class _Tempered:
    """`(?:(?!look)step)*`: steps, before none of which the look may match."""

    look: syntax.Node
    step: Language
    low: int
    high: int | None


@dataclass(frozen=True)
class _Stuck:
    """A place at the border of a part whose neighbours aren't known."""

    place: syntax.Beside


_Item = Language | syntax.Beside | syntax.Look | _Tempered | _Stuck
_Items = tuple[_Item, ...]


class _TooComplexError(Exception):
    """More sequences than are worth it."""


def search_language(node: syntax.Node, *, is_wide: bool = False) -> Searched:
    """Return the texts in which the pattern matches somewhere.

    is_wide: take classes for what either dialect reads them as; else for what both do.
    """
    reader = _Reader(is_wide)
    try:
        language = reader.context(node, before=ANY, after=ANY, has_start=True, has_end=True)
    except _TooComplexError:
        return Searched(ANY, False)
    return Searched(language, reader.is_exact)


class _Reader:
    def __init__(self, is_wide: bool) -> None:
        self._is_wide = is_wide
        self.is_exact = True

    def context(
        self,
        node: syntax.Node,
        *,
        before: Language = EMPTY,
        after: Language = EMPTY,
        has_start: bool,
        has_end: bool,
    ) -> Language:
        """Return `before`, a match of the node and `after` as one language.

        has_start, has_end: whether that is all there is of the text on this side.
        """
        found = []
        for sequence in self._sequences(node):
            for items in self._settled((before, *sequence, after), has_start, has_end):
                found.append(self._assembled(items, has_start, has_end))
        return either(found)

    def _ranges(self, chars: CharClass) -> Ranges:
        return chars.possible if self._is_wide else chars.sure

    def _language(self, node: syntax.Node) -> Language:
        """Return the language of a node, its places left out."""
        match node:
            case syntax.OneOf(chars):
                return Chars(self._ranges(chars))
            case syntax.Sequence(parts):
                return concat(map(self._language, parts))
            case syntax.Choice(parts):
                return either(map(self._language, parts))
            case syntax.Quantified(part, low, high):
                return repeat(self._language(part), low, high)
            case syntax.Backreference():
                self.is_exact = False
                return ANY
        return EMPTY

    def _sequences(self, node: syntax.Node) -> list[_Items]:
        """Return the node as alternatives, each a sequence of languages and places."""
        if not _has_place(node):
            return [(self._language(node),)]
        match node:
            case syntax.Beside():
                return [(node,)]
            case syntax.Look():
                return [(_as_beside(node) or node,)]
            case syntax.Choice(parts):
                return _limited(items for part in parts for items in self._sequences(part))
            case syntax.Sequence(parts):
                return self._product([self._sequences(part) for part in parts])
            case syntax.Quantified(part, low, high):
                return self._repeated(part, low, high)
        raise AssertionError(node)

    def _product(self, choices: Sequence[Sequence[_Items]]) -> list[_Items]:
        return _limited(
            tuple(item for items in chosen for item in items) for chosen in product(*choices)
        )

    def _repeated(self, part: syntax.Node, low: int, high: int | None) -> list[_Items]:
        bodies = [
            items
            for sequence in self._sequences(part)
            for items in self._settled(sequence, False, False)
        ]
        plain = either(concat(_languages(items)) for items in bodies if not _places(items))
        special = [items for items in bodies if _places(items)]
        if not special:
            return [(repeat(plain, low, high),)]
        if high is not None and high <= _MAX_COPIES:
            counts = range(low, high + 1)
            return _limited(items for count in counts for items in self._product([bodies] * count))
        if plain == NOTHING and len(special) == 1:
            look, *rest = special[0]
            if isinstance(look, syntax.Look) and look.ahead and look.negated:
                step = _languages(rest)
                if len(step) == len(rest):
                    return [(_Tempered(look.part, concat(step), low, high),)]
        if low <= 1 and high is None and all(map(_has_only_edges, special)):
            middle: list[_Items] = [(repeat(plain, 0, None),)]
            some = self._product([bodies, middle, bodies])
            return [*([()] if low == 0 else []), *bodies, *some]
        self.is_exact = False
        return [(repeat(self._language(part), low, high),)]

    def _settled(self, items: _Items, has_start: bool, has_end: bool) -> list[_Items]:
        """Return alternatives in which no `Beside` is left; those at open borders are stuck."""
        pending, done = [tuple(item for item in items if item != EMPTY)], []
        while pending:
            sequence = pending.pop()
            place = next((i for i, item in enumerate(sequence) if _is_beside(item)), None)
            if place is None:
                done.append(sequence)
            else:
                pending += self._settle_one(sequence, place, has_start, has_end)
            if len(pending) + len(done) > _MAX_SEQUENCES:
                raise _TooComplexError
        return done

    def _settle_one(
        self, items: _Items, place: int, has_start: bool, has_end: bool
    ) -> list[_Items]:
        beside = items[place]
        assert isinstance(beside, syntax.Beside)
        rest = items[:place] + items[place + 1 :]
        # In `rest` the neighbours are at `place`, `place + 1`, ... or at `place - 1`, ...
        indices = range(place, len(rest)) if beside.ahead else range(place - 1, -1, -1)
        at = next((i for i in indices if isinstance(rest[i], Language | _Tempered)), None)
        if at is None:
            if has_end if beside.ahead else has_start:
                return [rest] if beside.or_edge else []
            return [(*items[:place], _Stuck(beside), *items[place + 1 :])]
        neighbour = rest[at]
        if isinstance(neighbour, _Tempered):
            at += 1 if beside.ahead else 0
            steps = _unrolled(neighbour, is_first=beside.ahead)
            return [items[:at] + way + items[at + 1 :] for way in steps]
        assert isinstance(neighbour, Language)
        found = []
        if neighbour.is_nullable:
            without = at + 1 if beside.ahead else at
            found.append(items[:without] + items[without + 1 :])
        edge = with_first if beside.ahead else with_last
        changed = edge(neighbour, self._ranges(beside.chars))
        if changed != NOTHING:
            found.append((*rest[:at], changed, *rest[at + 1 :]))
        return found

    def _assembled(self, items: _Items, has_start: bool, has_end: bool) -> Language:
        """Return the language of a settled sequence."""
        if any(isinstance(item, _Stuck) for item in items):
            self.is_exact = False
        texts = [i for i, item in enumerate(items) if isinstance(item, Language | _Tempered)]
        first, last = (texts[0], texts[-1]) if texts else (len(items), -1)
        looks = [(i, item) for i, item in enumerate(items) if isinstance(item, syntax.Look)]
        outer: list[Language] = []
        behinds = [i for i, look in looks if not look.ahead and i < last]
        middle = max(behinds, default=0)
        inner: dict[int, Language] = {}
        for i, look in looks:
            is_outer = i < first if look.ahead else i > last
            if not (has_end if look.ahead else has_start) or (
                look.ahead and not is_outer and i < middle
            ):
                self.is_exact = False
            elif is_outer:
                outer.append(self._look(look, True, True, has_start, has_end))
            else:
                inner[i] = self._look(look, False, False, has_start, has_end)
        prefix: Language = EMPTY
        for i in range(middle):
            prefix = self._joined(prefix, items[i], inner.get(i), is_prefix=True)
        suffix: Language = EMPTY
        for i in range(len(items) - 1, middle - 1, -1):
            look_at = items[i]
            if isinstance(look_at, syntax.Look) and not look_at.ahead:
                if i in inner:
                    prefix = both([prefix, inner[i]])
            else:
                suffix = self._joined(suffix, look_at, inner.get(i), is_prefix=False)
        return both([concat([prefix, suffix]), *outer])

    def _joined(
        self, text: Language, item: _Item, look: Language | None, *, is_prefix: bool
    ) -> Language:
        if look is not None:
            return both([text, look])
        if isinstance(item, _Tempered):
            item = self._tempered(item, text if not is_prefix else None)
        if isinstance(item, Language):
            return concat([text, item] if is_prefix else [item, text])
        return text

    def _tempered(self, item: _Tempered, after: Language | None) -> Language:
        """Return the steps of a tempered repetition, exact if nothing or anything follows."""
        steps = repeat(item.step, item.low, item.high)
        if after == ANY and item.low == 0:
            return EMPTY
        if after != EMPTY:
            self.is_exact = False
            return steps
        reader = _Reader(not self._is_wide)
        body = reader.context(item.look, after=ANY, has_start=False, has_end=True)
        if not reader.is_exact:
            self.is_exact = False
            return steps
        return both([steps, negation(concat([ANY, both([body, ANY_TEXT])]))])

    def _look(
        self, look: syntax.Look, at_start: bool, at_end: bool, has_start: bool, has_end: bool
    ) -> Language:
        """Return the texts after (or before) a place at which the look holds."""
        reader = _Reader(self._is_wide != look.negated)
        if look.ahead:
            body = reader.context(
                look.part, after=ANY, has_start=at_start and has_start, has_end=has_end
            )
        else:
            body = reader.context(
                look.part, before=ANY, has_start=has_start, has_end=at_end and has_end
            )
        if not reader.is_exact:
            self.is_exact = False
            if look.negated:
                return ANY
        return negation(body) if look.negated else body


def _limited(found: Iterable[_Items]) -> list[_Items]:
    kept: list[_Items] = []
    for items in found:
        kept.append(items)
        if len(kept) > _MAX_SEQUENCES:
            raise _TooComplexError
    return kept


def _is_beside(item: _Item) -> bool:
    return isinstance(item, syntax.Beside)


def _languages(items: Iterable[_Item]) -> list[Language]:
    return [item for item in items if isinstance(item, Language)]


def _places(items: Iterable[_Item]) -> list[_Item]:
    return [item for item in items if not isinstance(item, Language)]


def _has_only_edges(items: _Items) -> bool:
    return all(
        isinstance(item, _Stuck) and not item.place.chars.possible for item in _places(items)
    )


def _has_place(node: syntax.Node) -> bool:
    match node:
        case syntax.Beside() | syntax.Look():
            return True
        case syntax.Sequence(parts) | syntax.Choice(parts):
            return any(map(_has_place, parts))
        case syntax.Quantified(part):
            return _has_place(part)
    return False


def _unrolled(item: _Tempered, *, is_first: bool) -> list[_Items]:
    """Return a tempered repetition as nothing, or as one step and the others."""
    high = None if item.high is None else item.high - 1
    step: _Items = (syntax.Look(item.look, ahead=True, negated=True), item.step)
    others: _Items = (_Tempered(item.look, item.step, max(item.low - 1, 0), high),)
    if high == 0:
        others = ()
    return [*([()] if item.low == 0 else []), step + others if is_first else others + step]


def _as_beside(look: syntax.Look) -> syntax.Beside | None:
    """Return a look at one character, or at the text's edge, as a `Beside`."""
    sure: list[Ranges] = []
    possible: list[Ranges] = []
    or_edge = False
    parts = look.part.parts if isinstance(look.part, syntax.Choice) else (look.part,)
    for part in parts:
        if isinstance(part, syntax.Quantified) and part.low >= 1:
            part = part.part  # one is enough
        if isinstance(part, syntax.OneOf):
            sure.append(part.chars.sure)
            possible.append(part.chars.possible)
        elif part in (syntax.START, syntax.END) and part.ahead == look.ahead:
            or_edge = True
        else:
            return None
    chars = CharClass(union(*sure), union(*possible))
    if look.negated:
        return syntax.Beside(negate(chars), look.ahead, not or_edge)
    return syntax.Beside(chars, look.ahead, or_edge)
