"""The rules of a grammar before they are text: what a value, an object and an array consist of.

A rule is named by its index in the graph.
"""

from dataclasses import dataclass, field

Rule = int


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal expression; samples: JSON texts of it, the shortest first; empty where unknown.

    is_hint: the samples help to finish it. is_patterned: not every string fits.
    """

    expression: str
    samples: tuple[str, ...]
    is_hint: bool = False
    is_patterned: bool = False


@dataclass(slots=True)
class ValueShape:
    """A value is one of the terminals or one of the rules (objects and arrays)."""

    terminals: list[Terminal] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)


@dataclass(slots=True)
class ArrayShape:
    """prefix, then `rest` (None: no more); least and most count both.

    distinct: the only items, each at most once. contains: (item, at least so often).
    """

    prefix: list[Rule]
    rest: Rule | None
    least: int
    most: int | None
    distinct: list[Rule] | None = None
    contains: tuple[Rule, int] | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A declared key and its value."""

    name: str
    value: Rule
    is_required: bool


@dataclass(slots=True)
class ObjectShape:
    """Fields, each at most once, and any number of `others`: (key, value)."""

    fields: list[Field]
    others: list[tuple[Terminal, Rule]]
    least: int
    most: int | None
    pointer: str = ""


Shape = ValueShape | ArrayShape | ObjectShape
