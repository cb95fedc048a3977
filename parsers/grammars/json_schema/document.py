"""The schemas of one document, numbered so that equal ones have one number.

A literal is a schema's number, or its negative: what the schema refuses. A `Conj` is a sorted tuple
of literals that all hold; the empty one is any value, NOTHING is none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .modern import modern
from .pointers import ReferenceTable, step

Conj = tuple[int, ...]
NOTHING: Final[Conj] = (0,)

_ANNOTATIONS: Final = frozenset(
    (
        *("title", "description", "default", "examples", "example", "deprecated", "readOnly"),
        *("writeOnly", "$schema", "$id", "id", "$comment", "$anchor", "$dynamicAnchor", "$defs"),
        *("definitions", "contentMediaType", "contentEncoding", "contentSchema", "nullable"),
    )
)
_MAPS: Final = frozenset(("properties", "patternProperties", "dependentSchemas"))
_LISTS: Final = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_PARTS: Final = frozenset(
    (
        *("additionalProperties", "unevaluatedProperties", "propertyNames", "not", "if", "then"),
        *("else", "items", "unevaluatedItems", "contains"),
    )
)


def all_of(*conjs: Conj) -> Conj:
    """Return what holds where all of them hold."""
    literals = frozenset().union(*conjs)
    if 0 in literals or any(-literal in literals for literal in literals):
        return NOTHING
    return tuple(sorted(literals))


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A schema of the document in modern form, without annotations; pointer: where it stands."""

    number: int
    schema: dict[str, Any]
    pointer: str
    source: Mapping[str, Any]


PLAIN_INTEGERS: Final = "plain integers"
"""Key of our own in the schemas of drafts 3 and 4, where `1.0` is no integer."""
_DRAFT_4: Final = re.compile("draft-0[34]")


def _has_flags(raw: Mapping[str, Any]) -> bool:
    """Return whether a schema has the boolean bounds of drafts 3 and 4."""
    return any(isinstance(raw.get(f"exclusive{bound}"), bool) for bound in ("Minimum", "Maximum"))


class Document:
    """One root schema (checked before) and everything within it."""

    def __init__(self, root: Any) -> None:
        self.references = ReferenceTable(root)
        self._is_draft4 = isinstance(root, Mapping) and bool(
            _DRAFT_4.search(str(root.get("$schema", "")))
        )
        self._members: list[Member | None] = [None]
        self._numbers: dict[Any, int] = {}
        self._known: dict[int, tuple[Any, Conj]] = {}

    def member(self, literal: int) -> Member:
        found = self._members[abs(literal)]
        assert found is not None
        return found

    def conj(self, raw: Any, pointer: str) -> Conj:
        """Return the number of the schema that stands at the pointer, as a Conj of one."""
        if raw is False:
            return NOTHING
        if raw is True or not isinstance(raw, Mapping):
            return ()
        if id(raw) not in self._known:
            # the raw schema is kept beside its number, so that the id stays its own
            self._known[id(raw)] = (raw, self._enter(raw, pointer))
        return self._known[id(raw)][1]

    def part(self, member: Member, key: str) -> Conj:
        """Return the subschema under a keyword, () where there is none."""
        return self.conj(member.schema.get(key, True), step(member.pointer, key))

    def parts(self, member: Member, key: str) -> dict[str, Conj]:
        """Return the subschemas of a keyword that maps names to schemas."""
        pointer = step(member.pointer, key)
        named = member.schema.get(key, {}).items()
        return {name: self.conj(part, step(pointer, name)) for name, part in named}

    def listed(self, member: Member, key: str) -> list[Conj]:
        """Return the subschemas of a keyword that lists schemas."""
        pointer = step(member.pointer, key)
        listed = enumerate(member.schema.get(key, ()))
        return [self.conj(part, step(pointer, index)) for index, part in listed]

    def _enter(self, raw: Mapping[str, Any], pointer: str) -> Conj:
        schema = {key: value for key, value in modern(raw).items() if key not in _ANNOTATIONS}
        if "type" in schema and (self._is_draft4 or _has_flags(raw)):
            schema[PLAIN_INTEGERS] = True
        if not schema:
            return ()
        content = self._content(schema, pointer, raw)
        number = self._numbers.setdefault(content, len(self._members))
        if number == len(self._members):
            self._members.append(Member(number, schema, pointer, raw))
        return (number,)

    def _content(self, schema: dict[str, Any], pointer: str, raw: Mapping[str, Any]) -> Any:
        """Return what tells this schema from others, subschemas by their numbers."""
        content: list[Any] = []
        for key in sorted(schema):
            value, place = schema[key], step(pointer, key)
            if key in _PARTS:
                content.append((key, self.conj(value, place)))
            elif key in _LISTS:
                parts = (self.conj(part, step(place, i)) for i, part in enumerate(value))
                content.append((key, tuple(parts)))
            elif key in _MAPS:
                parts = (self.conj(part, step(place, name)) for name, part in value.items())
                content.append((key, tuple(value), tuple(parts)))
            elif key == "$ref":
                content.append((key, self.references.base(raw), value))
            else:
                content.append((key, repr(value)))
        return tuple(content)
