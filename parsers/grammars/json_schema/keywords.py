"""The keywords of one schema that hold by themselves, as a node, and what refuses them."""

from collections.abc import Iterator
from typing import Any, Final

from .constants import canonical
from .document import NOTHING, PLAIN_INTEGERS, Conj, Document, Member
from .nodes import ArrayRules, Node, ObjectPart, ObjectRules
from .numbers import number_format_bounds
from .scalar_rules import NumberRules, StringRules

_KINDS_OF: Final = {
    "number": ("integer", "fraction"),
    "boolean": ("true", "false"),
    **{name: (name,) for name in ("string", "integer", "null", "object", "array")},
}
_ALL: Final = Node().kinds
_OBJECT: Final = frozenset(
    (
        *("properties", "patternProperties", "additionalProperties", "required"),
        *("propertyNames", "minProperties", "maxProperties"),
    )
)
_REFUSABLE: Final = frozenset(
    (
        *("type", "enum", "const", "required", "properties", "pattern", "minLength", "maxLength"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems"),
        *("minProperties", "maxProperties", "dependentRequired"),
    )
)
_ARRAYS: Final = frozenset(("array",))


def own_node(document: Document, member: Member) -> Node | None:
    """Return what the schema's own keywords ask, None if no value fits; compositions aren't read.

    `unevaluated*` is left to `unevaluated_node`.
    """
    schema, pointer = member.schema, member.pointer
    node = Node(
        kinds=_kinds(schema),
        values=_values(schema),
        strings=StringRules(
            patterns=(schema["pattern"],) if "pattern" in schema else (),
            formats=(schema["format"],) if "format" in schema else (),
            least=int(schema.get("minLength", 0)),
            most=_count(schema, "maxLength"),
            pointer=pointer,
        ),
        numbers=_number_rules(member),
        arrays=_array_rules(document, member),
        objects=_object_rules(document, member),
        pointer=pointer,
    )
    return node.settled()


def _kinds(schema: dict[str, Any]) -> frozenset[str]:
    kinds = schema.get("type")
    if kinds is None:
        return _ALL
    listed = [kinds] if isinstance(kinds, str) else kinds
    return frozenset(kind for name in listed for kind in _KINDS_OF[name])


def _values(schema: dict[str, Any]) -> tuple[str, ...] | None:
    values = None
    if "enum" in schema:
        values = tuple(dict.fromkeys(map(canonical, schema["enum"])))
    if "const" in schema:
        constant = canonical(schema["const"])
        values = (constant,) if values is None or constant in values else ()
    return values


def _number_rules(member: Member) -> NumberRules:
    schema = member.schema
    rules = NumberRules(
        minimum=schema.get("minimum"),
        maximum=schema.get("maximum"),
        above=schema.get("exclusiveMinimum"),
        below=schema.get("exclusiveMaximum"),
        multiples=(schema["multipleOf"],) if "multipleOf" in schema else (),
        is_plain=PLAIN_INTEGERS in schema,
        pointer=member.pointer,
    )
    sized = number_format_bounds(schema.get("format", ""))
    return rules.both(NumberRules(minimum=sized[0], maximum=sized[1])) if sized else rules


def _array_rules(document: Document, member: Member) -> ArrayRules:
    schema = member.schema
    contains = document.part(member, "contains")
    least = int(schema.get("minContains", 1))
    return ArrayRules(
        prefix=tuple(document.listed(member, "prefixItems")),
        rest=document.part(member, "items"),
        least=int(schema.get("minItems", 0)),
        most=_count(schema, "maxItems"),
        is_unique=schema.get("uniqueItems", False),
        contains=((contains, least, _count(schema, "maxContains")),)
        if "contains" in schema
        else (),
        pointer=member.pointer,
    )


def _object_rules(document: Document, member: Member) -> ObjectRules:
    schema = member.schema
    if not _OBJECT & schema.keys():
        return ObjectRules()
    part = ObjectPart(
        properties=document.parts(member, "properties"),
        patterns=document.parts(member, "patternProperties"),
        extra=document.part(member, "additionalProperties"),
    )
    says_something = part.properties or part.patterns or part.extra
    return ObjectRules(
        parts=(part,) if says_something else (),
        required=frozenset(schema.get("required", ())),
        names=document.part(member, "propertyNames"),
        least=int(schema.get("minProperties", 0)),
        most=_count(schema, "maxProperties"),
        pointer=member.pointer,
    )


def _count(schema: dict[str, Any], key: str) -> int | None:
    return int(schema[key]) if key in schema else None


def refusals(document: Document, member: Member) -> Iterator[Node]:
    """Yield nodes of which one holds exactly where a keyword fails that `can_refuse`."""
    schema = member.schema
    if "type" in schema:
        yield Node(kinds=_ALL - _kinds(schema))
    values = _values(schema)
    if values is not None:
        yield Node(excluded=frozenset(values))
    yield from _refused_strings(schema)
    yield from _refused_numbers(schema)
    yield from _refused_counts(schema)
    for name in schema.get("required", ()):
        yield missing_key(name)
    for name, needed in schema.get("dependentRequired", {}).items():
        for node in (requiring(name).both(missing_key(other)) for other in needed):
            if node is not None:
                yield node
    for name, part in document.parts(member, "properties").items():
        parts = (ObjectPart({name: _refused(part)}),)
        yield _object(parts=parts, required=frozenset((name,)))
    if "items" in schema:
        items = document.part(member, "items")
        yield Node(_ARRAYS, arrays=ArrayRules(contains=((_refused(items), 1, None),)))
    if "contains" in schema:
        contained = document.part(member, "contains")
        yield Node(_ARRAYS, arrays=ArrayRules(rest=_refused(contained)))


def can_refuse(member: Member, key: str) -> bool:
    """Return whether `refusals` gives exactly what refuses the keyword."""
    if key == "items":
        return "prefixItems" not in member.schema
    if key == "contains":
        return not {"minContains", "maxContains"} & member.schema.keys()
    return key in _REFUSABLE


def _refused(conj: Conj) -> Conj:
    """Return what refuses the Conj of a single schema."""
    if conj in ((), NOTHING):
        return () if conj else NOTHING
    return (-conj[0],)


def missing_key(name: str) -> Node:
    """Return the node of objects without the key."""
    return _object(parts=(ObjectPart({name: (0,)}),))


def requiring(*names: str) -> Node:
    """Return the node of objects that have the keys."""
    return _object(required=frozenset(names))


def _refused_strings(schema: dict[str, Any]) -> Iterator[Node]:
    strings = frozenset(("string",))
    if "pattern" in schema:
        yield Node(strings, strings=StringRules(not_patterns=(schema["pattern"],)))
    if schema.get("minLength"):
        yield Node(strings, strings=StringRules(most=int(schema["minLength"]) - 1))
    if "maxLength" in schema:
        yield Node(strings, strings=StringRules(least=int(schema["maxLength"]) + 1))


def _refused_numbers(schema: dict[str, Any]) -> Iterator[Node]:
    numbers = frozenset(("integer", "fraction"))
    for key, refused in (
        ("minimum", "below"),
        ("maximum", "above"),
        ("exclusiveMinimum", "maximum"),
        ("exclusiveMaximum", "minimum"),
    ):
        if key in schema:
            yield Node(numbers, numbers=NumberRules(**{refused: schema[key]}))


def _refused_counts(schema: dict[str, Any]) -> Iterator[Node]:
    if schema.get("minItems"):
        yield Node(_ARRAYS, arrays=ArrayRules(most=int(schema["minItems"]) - 1))
    if "maxItems" in schema:
        yield Node(_ARRAYS, arrays=ArrayRules(least=int(schema["maxItems"]) + 1))
    if schema.get("minProperties"):
        yield _object(most=int(schema["minProperties"]) - 1)
    if "maxProperties" in schema:
        yield _object(least=int(schema["maxProperties"]) + 1)


def _object(**rules: Any) -> Node:
    return Node(frozenset(("object",)), objects=ObjectRules(**rules))
