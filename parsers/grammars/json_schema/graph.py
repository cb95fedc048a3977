"""The graph of shapes that a schema asks for: one shape for each different thing asked."""

import json
from collections import deque
from typing import Final

from .document import NOTHING, Conj, Document, all_of
from .expand import Expander
from .instances import finite_values, takes, takes_node
from .key_values import declared_names, has_overlapping_classes, key_classes, value_of
from .nodes import ArrayRules, Node, ObjectRules
from .scalar_rules import StringRules
from .shapes import ArrayShape, Field, ObjectShape, Rule, Shape, Terminal, ValueShape
from .terminals import constant, number_choice, string_choice

MAX_DISTINCT: Final = 60
_MAX_ITEMS: Final = 100_000

Key = Conj | ArrayRules | ObjectRules


class Graph:
    """Shapes of a document's schemas, built on demand; `relaxed`: see `Expander`."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._expander = Expander(document)
        self._rules: dict[Key, Rule] = {}
        self._queue: deque[tuple[Rule, Key]] = deque()
        self.shapes: list[Shape] = []

    @property
    def relaxed(self) -> tuple[tuple[str, str], ...]:
        return tuple(self._expander.relaxed)

    def build(self, conj: Conj) -> Rule:
        """Return the rule of a Conj after everything below it is built."""
        root = self._rule(conj)
        while self._queue:
            rule, key = self._queue.popleft()
            self.shapes[rule] = self._shape(key)
        return root

    def _rule(self, key: Key) -> Rule:
        if key not in self._rules:
            self._rules[key] = len(self.shapes)
            self.shapes.append(ValueShape())
            self._queue.append((self._rules[key], key))
        return self._rules[key]

    def _shape(self, key: Key) -> Shape:
        if isinstance(key, ArrayRules):
            return self._array(key)
        return self._object(key) if isinstance(key, ObjectRules) else self._value(key)

    def _relax(self, relaxed: list[tuple[str, str]]) -> None:
        for pointer, keyword in relaxed:
            self._expander.relax(pointer, keyword)

    def _value(self, conj: Conj) -> ValueShape:
        terminals: dict[str, Terminal] = {}
        constants: dict[str, None] = {}
        rules: dict[Rule, None] = {}
        for node in self._expander.expand(conj):
            if node.values is None:
                found = self._scalars(node)
                constants.update(dict.fromkeys(sorted(node.kinds & {"true", "false", "null"})))
                terminals.update((terminal.expression, terminal) for terminal in found)
                rules.update(dict.fromkeys(self._containers(node)))
                continue
            for text in node.values:
                if takes_node(self._expander, node, json.loads(text)):
                    constants[text] = None
        rules.update((self._constant_container(text), None) for text in constants if text[0] in "[{")
        scalars = [text for text in constants if text[0] not in "[{"]
        return ValueShape([*_one_of(scalars), *terminals.values()], list(rules))

    def _scalars(self, node: Node) -> list[Terminal]:
        relaxed: list[tuple[str, str]] = []
        found = [number_choice(node, relaxed)]
        if "string" in node.kinds:
            excluded = (json.loads(text) for text in sorted(node.excluded) if text[0] == '"')
            found.append(string_choice(node.strings, tuple(excluded), relaxed))
        self._relax(relaxed)
        return [terminal for terminal in found if terminal is not None]

    def _containers(self, node: Node) -> list[Rule]:
        arrays, objects = node.arrays, node.objects
        for text in node.excluded:
            if text == "[]":
                arrays = arrays.both(ArrayRules(least=1))
            elif text == "{}":
                objects = objects.both(ObjectRules(least=1))
            elif text[0] in "[{" and {"[": "array", "{": "object"}[text[0]] in node.kinds:
                self._expander.relax(node.pointer, "not")
        found = []
        if "array" in node.kinds:
            found.append(self._rule(arrays))
        if "object" in node.kinds:
            found.append(self._rule(objects))
        return found

    def _constant_container(self, text: str) -> Rule:
        value = json.loads(text)
        if isinstance(value, list):
            items = tuple(self._constant(item) for item in value)
            return self._rule(ArrayRules(items, NOTHING, len(items), len(items)))
        exact = {
            "properties": {name: {"const": part} for name, part in value.items()},
            "required": sorted(value),
            "additionalProperties": False,
        }
        (node,) = self._expander.expand(self._document.conj(exact, ""))
        return self._rule(node.objects)

    def _constant(self, value: object) -> Conj:
        return self._document.conj({"const": value}, "")

    def _array(self, rules: ArrayRules) -> ArrayShape:
        most = rules.longest()
        shape = ArrayShape(
            prefix=[self._rule(item) for item in rules.prefix[: most if most is not None else None]],
            rest=None if rules.rest == NOTHING else self._rule(rules.rest),
            least=rules.least,
            most=most,
        )
        if rules.is_unique and (most is None or most > 1):
            self._make_distinct(shape, rules)
        for contained in rules.contains:
            self._make_contain(shape, rules, contained)
        if shape.least > _MAX_ITEMS:
            shape.least = _MAX_ITEMS
            self._expander.relax(rules.pointer, "minItems")
        if shape.most is not None and shape.most > _MAX_ITEMS:
            shape.most = None
            self._expander.relax(rules.pointer, "maxItems")
        return shape

    def _make_distinct(self, shape: ArrayShape, rules: ArrayRules) -> None:
        values = finite_values(self._expander, rules.rest, MAX_DISTINCT)
        if values is None or rules.prefix:
            self._expander.relax(rules.pointer, "uniqueItems")
            return
        items = [self._constant(json.loads(text)) for text in values]
        shape.distinct = [self._rule(item) for item in items]

    def _make_contain(
        self, shape: ArrayShape, rules: ArrayRules, contained: tuple[Conj, int, int | None]
    ) -> None:
        conj, least, most = contained
        if least == 0 and most is None:
            return
        is_held = not rules.prefix and shape.distinct is None and shape.contains is None
        is_counted = rules.most is not None or rules.least > least
        if most is not None or not is_held or least == 0 or is_counted:
            self._expander.relax(rules.pointer, "contains")
            return
        shape.contains = (self._rule(all_of(rules.rest, conj)), least)

    def _object(self, rules: ObjectRules) -> ObjectShape:
        names = declared_names(rules)
        others = self._other_keys(rules, names)
        fields = []
        for name in names:
            value = value_of(rules, name)
            if value != NOTHING and takes(self._expander, rules.names, name):
                fields.append(Field(name, self._rule(value), name in rules.required))
            elif name in rules.required:
                return ObjectShape([Field(name, self._rule(NOTHING), True)], [], 0, None)
        return ObjectShape(fields, others, rules.least, rules.most, rules.pointer)

    def _other_keys(self, rules: ObjectRules, names: list[str]) -> list[tuple[Terminal, Rule]]:
        """Return the undeclared keys with their values; `names` grows by those of propertyNames."""
        strings = []
        for node in self._expander.expand(rules.names):
            if node.values is not None:
                found = [json.loads(text) for text in node.values if text[0] == '"']
                names += [name for name in found if name not in names]
            elif "string" in node.kinds:
                excluded = [json.loads(text) for text in node.excluded if text[0] == '"']
                strings.append((node.strings, excluded))
        if has_overlapping_classes(rules):
            self._expander.relax(rules.pointer, "patternProperties")
        others = []
        for own, excluded in strings:
            for matched, unmatched, value in key_classes(rules):
                key = own.both(StringRules(patterns=matched, not_patterns=unmatched))
                terminal = self._key(key, rules, (*names, *excluded))
                if terminal is not None:
                    others.append((terminal, self._rule(value)))
        return others

    def _key(
        self, key: StringRules, rules: ObjectRules, excluded: tuple[str, ...]
    ) -> Terminal | None:
        relaxed: list[tuple[str, str]] = []
        terminal = string_choice(key, excluded, relaxed)
        own = set(key.patterns + key.not_patterns)
        is_pattern = any(own & part.patterns.keys() for part in rules.parts)
        if relaxed:
            keyword = "patternProperties" if is_pattern else "propertyNames"
            self._expander.relax(rules.pointer, keyword)
        return terminal


def _one_of(texts: list[str]) -> list[Terminal]:
    """Return the scalars as one terminal."""
    found = [terminal for terminal in map(constant, texts) if terminal is not None]
    if not found:
        return []
    samples = sorted((terminal.samples[0] for terminal in found), key=len)
    expression = " | ".join(terminal.expression for terminal in found)
    return [Terminal(expression, tuple(samples), is_hint=True)]
