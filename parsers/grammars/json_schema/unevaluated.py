"""`unevaluatedProperties` and `unevaluatedItems`, where every part of the schema holds at once."""

from collections.abc import Iterator
from typing import Final

from .document import Document, Member
from .nodes import ArrayRules, Node, ObjectPart, ObjectRules

_CHOICES: Final = frozenset(("anyOf", "oneOf", "if", "dependentSchemas"))


def unevaluated_node(document: Document, member: Member, key: str) -> Node | None:
    """Return what the keyword asks, None where that depends on which parts of a choice hold."""
    try:
        parts = list(_parts_in_place(document, member, frozenset()))
    except _ChoiceError:
        return None
    if any(key in part.schema for part in parts[1:]):
        return Node()  # evaluated there
    rest = document.part(member, key)
    if key == "unevaluatedProperties":
        if any("additionalProperties" in part.schema for part in parts):
            return Node()
        names = (name for part in parts for name in part.schema.get("properties", ()))
        patterns = (name for part in parts for name in part.schema.get("patternProperties", ()))
        held = ObjectPart(dict.fromkeys(names, ()), dict.fromkeys(patterns, ()), rest)
        return Node(objects=ObjectRules(parts=(held,), pointer=member.pointer))
    if any("items" in part.schema for part in parts):
        return Node()
    if any("contains" in part.schema for part in parts):
        return None  # an item that is contained is evaluated too
    longest = max(len(part.schema.get("prefixItems", ())) for part in parts)
    return Node(arrays=ArrayRules(((),) * longest, rest, pointer=member.pointer))


class _ChoiceError(Exception):
    """Which parts hold depends on the value."""


def _parts_in_place(document: Document, member: Member, above: frozenset[int]) -> Iterator[Member]:
    """Yield the schema and those that it says hold as well."""
    if _CHOICES & member.schema.keys():
        raise _ChoiceError
    yield member
    conjs = document.listed(member, "allOf")
    if "$ref" in member.schema:
        target = document.references.find(member.schema["$ref"], member.source)
        if target is None:
            raise _ChoiceError
        conjs.append(document.conj(target.schema, target.pointer))
    above |= {member.number}
    for number in (number for conj in conjs for number in conj if number not in above):
        if number:
            yield from _parts_in_place(document, document.member(number), above)
