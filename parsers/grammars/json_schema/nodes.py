"""What one schema, or several together, ask of a value of each kind: merged, compared, checked.

A number with nothing behind its point is an integer, any other a fraction, so that each value has
exactly one kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from .constants import kind_of
from .document import NOTHING, Conj, all_of
from .scalar_rules import NumberRules, StringRules

KINDS: Final = ("string", "integer", "fraction", "true", "false", "null", "object", "array")
_ALL: Final = frozenset(KINDS)


@dataclass(frozen=True, slots=True)
class ArrayRules:
    """What an array must be; `contains`: (what, at least, at most or None)."""

    prefix: tuple[Conj, ...] = ()
    rest: Conj = ()
    least: int = 0
    most: int | None = None
    is_unique: bool = False
    contains: tuple[tuple[Conj, int, int | None], ...] = ()
    pointer: str = field(default="", compare=False)

    def both(self, other: "ArrayRules") -> "ArrayRules":
        length = max(len(self.prefix), len(other.prefix))
        return ArrayRules(
            prefix=tuple(all_of(self.item(i), other.item(i)) for i in range(length)),
            rest=all_of(self.rest, other.rest),
            least=max(self.least, other.least),
            most=smaller(self.most, other.most),
            is_unique=self.is_unique or other.is_unique,
            contains=tuple(dict.fromkeys(self.contains + other.contains)),
            pointer=self.pointer or other.pointer,
        )

    def item(self, index: int) -> Conj:
        """Return what the item at an index must be."""
        return self.prefix[index] if index < len(self.prefix) else self.rest

    def longest(self) -> int | None:
        """Return the greatest possible length, as far as this level shows."""
        fixed = next((i for i, item in enumerate(self.prefix) if item == NOTHING), None)
        if fixed is None and self.rest == NOTHING:
            fixed = len(self.prefix)
        return smaller(self.most, fixed)

    @property
    def is_possible(self) -> bool:
        most = self.longest()
        return most is None or self.least <= most


@dataclass(frozen=True, slots=True, eq=False)
class ObjectPart:
    """What one schema says of an object's values: its `extra` is for keys of no other entry."""

    properties: Mapping[str, Conj] = field(default_factory=dict)
    patterns: Mapping[str, Conj] = field(default_factory=dict)
    extra: Conj = ()


@dataclass(frozen=True, slots=True)
class ObjectRules:
    """What an object must be. Each part holds; `names` is what every key must be as a string."""

    parts: tuple[ObjectPart, ...] = ()
    required: frozenset[str] = frozenset()
    names: Conj = ()
    least: int = 0
    most: int | None = None
    pointer: str = field(default="", compare=False)

    def both(self, other: "ObjectRules") -> "ObjectRules":
        return ObjectRules(
            parts=tuple(dict.fromkeys(self.parts + other.parts)),
            required=self.required | other.required,
            names=all_of(self.names, other.names),
            least=max(self.least, other.least),
            most=smaller(self.most, other.most),
            pointer=self.pointer or other.pointer,
        )

    @property
    def is_possible(self) -> bool:
        if self.most is not None and max(self.least, len(self.required)) > self.most:
            return False
        return not any(
            part.properties.get(name) == NOTHING for part in self.parts for name in self.required
        )


@dataclass(frozen=True, slots=True)
class Node:
    """One way for a value to satisfy schemas: its kind is one of `kinds`, and that kind's rules.

    values: canonical texts, of which it must be one; None: any. excluded: which it can't be.
    """

    kinds: frozenset[str] = _ALL
    values: tuple[str, ...] | None = None
    excluded: frozenset[str] = frozenset()
    strings: StringRules = StringRules()
    numbers: NumberRules = NumberRules()
    arrays: ArrayRules = ArrayRules()
    objects: ObjectRules = ObjectRules()
    pointer: str = field(default="", compare=False)

    def both(self, other: "Node") -> "Node | None":
        """Return what satisfies both, None where it is plain that nothing does."""
        node = Node(
            kinds=self.kinds & other.kinds,
            values=_both_values(self.values, other.values),
            excluded=self.excluded | other.excluded,
            strings=self.strings.both(other.strings),
            numbers=self.numbers.both(other.numbers),
            arrays=self.arrays.both(other.arrays),
            objects=self.objects.both(other.objects),
            pointer=self.pointer or other.pointer,
        )
        return node.settled()

    def settled(self) -> "Node | None":
        """Return the node without kinds and values that are plainly impossible; None if empty."""
        gone = {"true", "false", "null"} & self.excluded
        if not self.strings.is_possible:
            gone.add("string")
        if not self.numbers.is_possible:
            gone |= {"integer", "fraction"}
        if not self.arrays.is_possible:
            gone.add("array")
        if not self.objects.is_possible:
            gone.add("object")
        kinds, values = self.kinds - gone, self.values
        if values is not None:
            values = tuple(v for v in values if kind_of(v) in kinds and self._takes_scalar(v))
            kinds = frozenset(map(kind_of, values))
        if not kinds:
            return None
        return self if (kinds, values) == (self.kinds, self.values) else replace(
            self, kinds=kinds, values=values
        )

    def _takes_scalar(self, text: str) -> bool:
        kind = kind_of(text)
        if text in self.excluded:
            return False
        if kind == "string":
            return self.strings.take(text)
        return kind not in ("integer", "fraction") or self.numbers.take(text)


def smaller(one: int | None, other: int | None) -> int | None:
    """Return the smaller of two upper bounds, None being none."""
    return other if one is None else one if other is None else min(one, other)


def _both_values(
    one: tuple[str, ...] | None, other: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    if one is None or other is None:
        return other if one is None else one
    kept = frozenset(other)
    return tuple(value for value in one if value in kept)
