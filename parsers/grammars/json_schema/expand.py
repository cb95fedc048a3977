"""Compositions taken apart: a Conj as the list of nodes of which a value must satisfy one.

What is exponential is bounded: a choice that would make more than MAX_NODES nodes is left out, and
named in `relaxed`.
"""

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import Any, Final

from .document import NOTHING, Conj, Document, Member
from .key_values import value_of
from .keywords import NEGATABLE, missing_key, own_node, refusals, unheld_keywords
from .nodes import Node, ObjectRules

MAX_NODES: Final = 128
_MAX_COMPARED: Final = 48  # branches of oneOf told apart from each other
_PROBE_DEPTH: Final = 2

Nodes = list[Node]


class Expander:
    """Expands the literals of one document; `relaxed`: what was left out, (pointer, keyword)."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.relaxed: dict[tuple[str, str], None] = {}
        self._expanded: dict[Conj, Nodes] = {}
        self._literals: dict[int, Nodes] = {}
        self._open: dict[int, int] = {}
        self._num_choices = 0
        self._is_probing = False
        self._has_cycle = False

    def expand(self, conj: Conj) -> Nodes:
        """Return the ways to satisfy all literals, none where there is none."""
        if conj == NOTHING:
            return []
        if conj not in self._expanded:
            nodes = [Node()]
            for literal in conj:
                nodes = self._within(nodes, self._literal(literal), literal)
            if self._is_probing:
                return nodes
            self._expanded[conj] = nodes
        return self._expanded[conj]

    def _within(self, nodes: Nodes, others: Nodes, literal: int) -> Nodes:
        product = _product(nodes, others)
        if product is None:
            self._relax(self._document.member(literal), "allOf")
            return nodes
        return product

    def _any(self, conj: Conj) -> Nodes:
        """Return the nodes of a Conj within the expansion that is under way."""
        nodes = [Node()]
        for literal in conj:
            found = [] if literal == 0 else self._literal(literal)
            nodes = self._within(nodes, found, literal) if literal else []
        return nodes

    def _literal(self, literal: int) -> Nodes:
        if literal in self._literals:
            return self._literals[literal]
        if literal in self._open:
            return self._close_cycle(literal)
        self._open[literal] = self._num_choices
        member = self._document.member(literal)
        nodes = self._positive(member) if literal > 0 else self._negative(member)
        del self._open[literal]
        if not self._open:
            self._has_cycle = False
        if not self._has_cycle and not self._is_probing:
            self._literals[literal] = nodes
        return nodes

    def _close_cycle(self, literal: int) -> Nodes:
        """A schema that refers to itself as a whole adds nothing; as one of several, it is none."""
        self._has_cycle = True
        if self._num_choices > self._open[literal]:
            return []
        self._relax(self._document.member(literal), "$ref")
        return [Node()]

    def _positive(self, member: Member) -> Nodes:
        document = self._document
        own = own_node(document, member)
        if own is None:
            return []
        for keyword in unheld_keywords(member):
            self._relax(member, keyword)
        nodes = [own]
        for key, read in _COMPOSITIONS:
            if key not in member.schema or not nodes:
                continue
            product = _product(nodes, read(self, member))
            if product is None:
                self._relax(member, key)
            else:
                nodes = product
        return nodes

    def _reference(self, member: Member) -> Nodes:
        target = self._target(member)
        return [Node()] if target is None else self._any(target)

    def _target(self, member: Member) -> Conj | None:
        target = self._document.references.find(member.schema["$ref"], member.source)
        if target is None:
            self._relax(member, "$ref")
            return None
        return self._document.conj(target.schema, target.pointer)

    def _all_of(self, member: Member) -> Nodes:
        nodes: Nodes = [Node()]
        for part in self._document.listed(member, "allOf"):
            product = _product(nodes, self._any(part))
            if product is None:
                self._relax(member, "allOf")
            else:
                nodes = product
        return nodes

    def _any_of(self, member: Member) -> Nodes:
        with self._choice():
            parts = self._document.listed(member, "anyOf")
            return _union(self._any(part) for part in parts)

    def _one_of(self, member: Member) -> Nodes:
        with self._choice():
            parts = self._document.listed(member, "oneOf")
            branches = [self._any(part) for part in parts]
            if not self._is_probing:
                branches = [
                    self._only(member, parts, branches, index) for index in range(len(parts))
                ]
            return _union(branches)

    def _only(self, member: Member, parts: list[Conj], branches: list[Nodes], index: int) -> Nodes:
        """Return the nodes of one branch where no other branch holds."""
        nodes = branches[index]
        if len(parts) > _MAX_COMPARED:
            self._relax(member, "oneOf")
            return nodes
        for other, part in enumerate(parts):
            if other == index or not self._overlap(branches[index], branches[other]):
                continue
            refused = self._refuse(part)
            product = None if refused is None else _product(nodes, refused)
            if product is None:
                self._relax(member, "oneOf")
            else:
                nodes = product
        return nodes

    def _not(self, member: Member) -> Nodes:
        refused = self._refuse(self._document.part(member, "not"))
        if refused is None:
            self._relax(member, "not")
            return [Node()]
        return refused

    def _if(self, member: Member) -> Nodes:
        condition = self._document.part(member, "if")
        with self._choice():
            then = _product(self._any(condition), self._any(self._document.part(member, "then")))
            refused = self._refuse(condition)
            if refused is None:
                self._relax(member, "if")
                refused = [Node()]
            other = _product(refused, self._any(self._document.part(member, "else")))
        if then is None or other is None:
            self._relax(member, "if")
            return [Node()]
        return _union((then, other))

    def _dependent_required(self, member: Member) -> Nodes:
        needs = member.schema["dependentRequired"].items()
        return self._dependent(
            member,
            "dependentRequired",
            [(name, [_requiring(frozenset((name, *names)))]) for name, names in needs],
        )

    def _dependent_schemas(self, member: Member) -> Nodes:
        cases = []
        with self._choice():
            for name, part in self._document.parts(member, "dependentSchemas").items():
                present = _product([_requiring(frozenset((name,)))], self._any(part))
                cases.append((name, present))
        return self._dependent(member, "dependentSchemas", cases)

    def _dependent(
        self, member: Member, key: str, cases: Iterable[tuple[str, Nodes | None]]
    ) -> Nodes:
        nodes: Nodes = [Node()]
        for name, present in cases:
            absent = [Node(kinds=Node().kinds, objects=missing_key(name).objects)]
            product = None if present is None else _product(nodes, [*absent, *present])
            if product is None:
                self._relax(member, key)
            else:
                nodes = product
        return nodes

    def _negative(self, member: Member) -> Nodes:
        nodes = self._refusing(member)
        if nodes is None:
            self._relax(member, "not")
            return [Node()]
        return nodes

    def _refuse(self, conj: Conj) -> Nodes | None:
        """Return what refuses the Conj, None where that can't be said exactly."""
        if conj in ((), NOTHING):
            return [Node()] if conj == NOTHING else []
        with self._choice():
            found = [self._refusing_literal(literal) for literal in conj]
        return None if any(nodes is None for nodes in found) else _union(n for n in found if n)

    def _refusing_literal(self, literal: int) -> Nodes | None:
        if literal < 0:
            return self._literal(-literal)
        if -literal in self._open:
            return None
        self._open[-literal] = self._num_choices
        nodes = self._refusing(self._document.member(literal))
        del self._open[-literal]
        return nodes

    def _refusing(self, member: Member) -> Nodes | None:
        document = self._document
        found: list[Nodes | None] = [list(refusals(document, member))]
        for key in member.schema.keys() - NEGATABLE:
            if key == "not":
                found.append(self._any(document.part(member, "not")))
            elif key == "allOf":
                found += [self._refuse(part) for part in document.listed(member, "allOf")]
            elif key == "anyOf":
                found.append(self._none_of(member))
            elif key == "$ref":
                target = self._target(member)
                found.append(None if target is None else self._refuse(target))
            elif key in _SAYING:
                found.append(None)
        if any(nodes is None for nodes in found):
            return None
        settled = (node.settled() for nodes in found if nodes for node in nodes)
        return _union([[node for node in settled if node is not None]])

    def _none_of(self, member: Member) -> Nodes | None:
        nodes: Nodes | None = [Node()]
        for part in self._document.listed(member, "anyOf"):
            refused = self._refuse(part)
            nodes = None if nodes is None or refused is None else _product(nodes, refused)
        return nodes

    def _overlap(self, ones: Nodes, others: Nodes) -> bool:
        """Return whether a value may satisfy both; True where that isn't clear."""
        product = _product(ones, others)
        return product is None or any(self._is_possible(node, _PROBE_DEPTH) for node in product)

    def _is_possible(self, node: Node, depth: int) -> bool:
        if node.kinds != {"object"} or depth == 0:
            return True
        return all(
            any(self._is_possible(child, depth - 1) for child in self._probe(conj))
            for conj in (value_of(node.objects, name) for name in node.objects.required)
        )

    def _probe(self, conj: Conj) -> Nodes:
        """Expand a Conj from within another's expansion: overlaps aren't looked at."""
        before = self._is_probing, self._open, self._has_cycle, self._num_choices
        self._is_probing, self._open, self._has_cycle, self._num_choices = True, {}, False, 0
        try:
            return self.expand(conj)
        finally:
            self._is_probing, self._open, self._has_cycle, self._num_choices = before

    @contextmanager
    def _choice(self) -> Any:
        self._num_choices += 1
        yield
        self._num_choices -= 1

    def _relax(self, member: Member, keyword: str) -> None:
        if not self._is_probing:
            self.relax(member.pointer, keyword)

    def relax(self, pointer: str, keyword: str) -> None:
        """Note that a keyword isn't held in full."""
        self.relaxed[pointer, keyword] = None


_COMPOSITIONS: Final[tuple[tuple[str, Callable[[Expander, Member], Nodes]], ...]] = (
    ("$ref", Expander._reference),
    ("allOf", Expander._all_of),
    ("not", Expander._not),
    ("oneOf", Expander._one_of),
    ("anyOf", Expander._any_of),
    ("if", Expander._if),
    ("dependentRequired", Expander._dependent_required),
    ("dependentSchemas", Expander._dependent_schemas),
)
_SAYING: Final = frozenset(
    (
        *("oneOf", "if", "dependentRequired", "dependentSchemas", "format", "multipleOf", "items"),
        *("prefixItems", "contains", "uniqueItems", "patternProperties", "additionalProperties"),
        *("propertyNames", "unevaluatedProperties", "unevaluatedItems"),
    )
)
"""Keywords beside NEGATABLE that can refuse a value."""


def _requiring(names: frozenset[str]) -> Node:
    return Node(frozenset(("object",)), objects=ObjectRules(required=names))


def _product(ones: Nodes, others: Nodes) -> Nodes | None:
    """Return the nodes that satisfy one of each; None where there are too many."""
    if ones == [_FREE]:
        return others
    if others == [_FREE]:
        return ones
    if len(ones) > 1 and len(others) > 1 and len(ones) * len(others) > MAX_NODES:
        return None
    found = (one.both(other) for one in ones for other in others)
    return list(dict.fromkeys(node for node in found if node is not None))


def _union(parts: Iterable[Nodes]) -> Nodes:
    nodes = list(dict.fromkeys(node for part in parts for node in part))
    return [_FREE] if _FREE in nodes else nodes


_FREE: Final = Node()
