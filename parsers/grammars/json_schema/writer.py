"""A schema as a whole grammar in llguidance's Lark form."""

from dataclasses import dataclass
from typing import Any, Final

from .arrays import array_rules, containing_rules, distinct_rules
from .check import SchemaError, check_schema
from .document import Document
from .graph import Graph
from .key_values import as_json
from .objects import Pair, object_rules
from .shapes import ArrayShape, ObjectShape, Rule, Shape, Terminal, ValueShape
from .shortest import shortest_texts, unfolding_rules
from .strings import literal

MAX_BLANKS: Final = 160
"""Blanks between two elements: more than any indentation needs, and not without end."""
_HEADER: Final = (
    '%llguidance {"ignore_once": true}\n'
    rf"%ignore /[ \t\n\r]{{1,{MAX_BLANKS}}}/"
)


@dataclass(frozen=True, slots=True)
class SchemaGrammar:
    """The grammar of a schema.

    text: a Lark grammar of which `start` is the schema's value. relaxed: what it doesn't hold in
    full, as (JSON pointer of the schema, keyword). hints: compact JSON texts that complete some
    terminal. shortest: a short instance as compact JSON; None where the schema has no finite one.
    growth: bytes of the longest among the short instances of all subschemas.
    """

    text: str
    relaxed: tuple[tuple[str, str], ...]
    hints: tuple[str, ...]
    shortest: str | None
    growth: int


def write_grammar(schema: Any, owner: str) -> SchemaGrammar:
    """Return the schema's grammar; owner: the tool or field that errors name.

    Raises SchemaError where the schema is none, or no value can satisfy it.
    """
    check_schema(schema, owner)
    document = Document(schema)
    graph = Graph(document)
    root = graph.build(document.conj(schema, ""))
    texts = shortest_texts(graph.shapes)
    alive = texts if root in texts else unfolding_rules(graph.shapes)
    if root not in alive:
        raise SchemaError(owner, "", "no value satisfies it")
    writer = _Writer(graph.shapes, alive)
    text = writer.write(root)
    return SchemaGrammar(
        text=text,
        relaxed=tuple(dict.fromkeys((*graph.relaxed, *writer.relaxed))),
        hints=tuple(writer.hints),
        shortest=texts.get(root),
        growth=max((len(part.encode()) for part in texts.values()), default=0),
    )


class _Writer:
    """Writes the rules that are alive, from the root on."""

    def __init__(self, shapes: list[Shape], alive: dict[Rule, str]) -> None:
        self._shapes = shapes
        self._alive = alive
        self._terminals: dict[str, str] = {}
        self._names: dict[Rule, str] = {}
        self._queue: list[Rule] = []
        self.hints: dict[str, None] = {}
        self.relaxed: list[tuple[str, str]] = []

    def write(self, root: Rule) -> str:
        lines = [f"start: {self._name(root)}"]
        while self._queue:
            rule = self._queue.pop()
            lines += self._rules(self._names[rule], self._shapes[rule])
        terminals = [f"{name}: {expression}" for expression, name in self._terminals.items()]
        return "\n".join((_HEADER, *lines, *terminals, ""))

    def _name(self, rule: Rule) -> str:
        """Return how a rule is called in others: by its only alternative where it has one."""
        shape = self._shapes[rule]
        if isinstance(shape, ValueShape):
            rules = [part for part in shape.rules if part in self._alive]
            if len(rules) == 1 and not shape.terminals:
                return self._name(rules[0])
            if len(shape.terminals) == 1 and not rules:
                return self._terminal(shape.terminals[0])
        if rule not in self._names:
            self._names[rule] = f"r{rule}"
            self._queue.append(rule)
        return self._names[rule]

    def _terminal(self, terminal: Terminal) -> str:
        if terminal.is_hint:
            self.hints.update(dict.fromkeys(terminal.samples))
        return self._terminals.setdefault(terminal.expression, f"T{len(self._terminals)}")

    def _rules(self, name: str, shape: Shape) -> list[str]:
        if isinstance(shape, ValueShape):
            parts = [self._terminal(terminal) for terminal in shape.terminals]
            parts += [self._name(rule) for rule in shape.rules if rule in self._alive]
            return [f"{name}: {' | '.join(parts)}"]
        if isinstance(shape, ArrayShape):
            return self._array(name, shape)
        return self._object(name, shape)

    def _array(self, name: str, shape: ArrayShape) -> list[str]:
        if shape.distinct is not None:
            items = [self._name(rule) for rule in shape.distinct if rule in self._alive]
            return distinct_rules(name, items, shape.least, shape.most)
        rest = self._living(shape.rest)
        if shape.contains is not None:
            return containing_rules(
                name, rest, self._name(shape.contains[0]), shape.contains[1]
            )
        return array_rules(name, [self._living(rule) for rule in shape.prefix], rest, shape)

    def _living(self, rule: Rule | None) -> str | None:
        return None if rule is None or rule not in self._alive else self._name(rule)

    def _object(self, name: str, shape: ObjectShape) -> list[str]:
        fields = [
            Pair(self._key(field.name), self._name(field.value), field.is_required)
            for field in shape.fields
            if field.value in self._alive
        ]
        others = [
            Pair(self._terminal(key), self._name(value))
            for key, value in shape.others
            if value in self._alive
        ]
        lines, unheld = object_rules(name, fields, others, shape)
        self.relaxed += [(shape.pointer, keyword) for keyword in unheld]
        return lines

    def _key(self, name: str) -> str:
        text = as_json(name)
        return self._terminal(Terminal(literal(name), (text,), is_hint=True))
