"""A short instance of every shape, and which shapes have none."""

from collections.abc import Iterable, Mapping
from itertools import chain, count
from typing import Final

from .key_values import as_json
from .shapes import ArrayShape, ObjectShape, Rule, Shape, ValueShape

MAX_LENGTH: Final = 2_000_000
"""Characters; an instance longer than this counts as none: no answer has room for it."""

Texts = Mapping[Rule, str]


def shortest_texts(shapes: list[Shape]) -> dict[Rule, str]:
    """Return compact JSON of a short instance for each shape that has a finite one."""
    texts: dict[Rule, str] = {}
    changed = True
    while changed:
        changed = False
        for rule in range(len(shapes) - 1, -1, -1):  # children mostly stand behind their parents
            text = shape_text(shapes[rule], texts)
            if text is not None and (rule not in texts or len(text) < len(texts[rule])):
                texts[rule] = text
                changed = True
    return texts


def unfolding_rules(shapes: list[Shape]) -> dict[Rule, str]:
    """Return the rules that nothing contradicts, be they endless; the texts mean nothing."""
    alive = dict.fromkeys(range(len(shapes)), "0")
    changed = True
    while changed:
        dead = [rule for rule in alive if shape_text(shapes[rule], alive) is None]
        for rule in dead:
            del alive[rule]
        changed = bool(dead)
    return alive


def shape_text(shape: Shape, texts: Texts) -> str | None:
    """Return a short instance made of the children's, None where there is none."""
    if isinstance(shape, ValueShape):
        samples = (terminal.samples[0] if terminal.samples else '""' for terminal in shape.terminals)
        found = chain(samples, (texts[rule] for rule in shape.rules if rule in texts))
        return min(found, key=len, default=None)
    text = _array(shape, texts) if isinstance(shape, ArrayShape) else _object(shape, texts)
    return text if text is not None and len(text) <= MAX_LENGTH else None


def _array(shape: ArrayShape, texts: Texts) -> str | None:
    if shape.distinct is not None:
        items = sorted((texts[rule] for rule in shape.distinct if rule in texts), key=len)
        return _closed("[", items[: shape.least], "]") if len(items) >= shape.least else None
    if shape.contains is not None:
        item, least = shape.contains
        return _closed("[", [texts[item]] * least, "]") if item in texts else None
    items = []
    for index in range(shape.least):
        rule = shape.prefix[index] if index < len(shape.prefix) else shape.rest
        if rule is None or rule not in texts:
            return None
        items.append(texts[rule])
        if len(items) * len(texts[rule]) > MAX_LENGTH:
            return None
    if shape.most is not None and shape.least > shape.most:
        return None
    return _closed("[", items, "]")


def _object(shape: ObjectShape, texts: Texts) -> str | None:
    needed = [field for field in shape.fields if field.is_required]
    if any(field.value not in texts for field in needed):
        return None
    if shape.most is not None and max(len(needed), shape.least) > shape.most:
        return None
    pairs = [f"{as_json(field.name)}:{texts[field.value]}" for field in needed]
    spare = [
        f"{as_json(field.name)}:{texts[field.value]}"
        for field in shape.fields
        if not field.is_required and field.value in texts
    ]
    missing = shape.least - len(pairs)
    if missing > 0:
        spare = sorted(chain(spare, _other_pairs(shape, texts, missing)), key=len)
        if len(spare) < missing:
            return None
        pairs += spare[:missing]
    return _closed("{", pairs, "}")


def _other_pairs(shape: ObjectShape, texts: Texts, num_wanted: int) -> list[str]:
    """Return pairs of undeclared keys, different ones as far as samples are known."""
    if num_wanted * 2 > MAX_LENGTH:
        return []
    pairs: list[str] = []
    declared = {as_json(field.name) for field in shape.fields}
    for key, value in shape.others:
        if value not in texts:
            continue
        names = list(key.samples)
        if not key.is_patterned:
            made = (f'"{number}"' for number in count())
            names += [name for name, _ in zip(made, range(num_wanted + len(declared)), strict=False)]
            names = [name for name in dict.fromkeys(names) if name not in declared]
        else:
            names += names[:1] * num_wanted
        pairs += [f"{name}:{texts[value]}" for name in names[:num_wanted]]
    return pairs


def _closed(opening: str, parts: Iterable[str], closing: str) -> str:
    return f"{opening}{','.join(parts)}{closing}"
