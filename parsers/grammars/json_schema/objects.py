"""An object shape as grammar rules: keys in any order, each declared one at most once.

A rule's parameter has a bit for each declared key, the required ones first, and above them a
counter of undeclared keys where their number matters. Whether a comma may come is asked before it,
so that no way leads to a dead end. Runs of undeclared keys are lists without recursion, so that an
object may have thousands.

Keys beyond the bits: required ones come in groups, in the order of the schema; optional ones may
come more than once.
"""

from dataclasses import dataclass
from typing import Final

from .shapes import ObjectShape

BITS: Final = 60
MAX_COUNTED: Final = 24
"""More keys than this aren't counted where undeclared ones are among them."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A key and a value as they stand in rules."""

    key: str
    value: str
    is_required: bool = False

    @property
    def text(self) -> str:
        return f'{self.key} ":" {self.value}'


def object_rules(
    name: str, fields: list[Pair], others: list[Pair], shape: ObjectShape
) -> tuple[list[str], list[str]]:
    """Return the rules of an object and the keywords that they don't hold.

    fields: declared keys that have a value, others: what undeclared keys there may be.
    """
    required = [pair for pair in fields if pair.is_required]
    optional = [pair for pair in fields if not pair.is_required]
    first = required[:BITS]
    later = [required[i : i + BITS] for i in range(BITS, len(required), BITS)]
    num_free = 0 if later else BITS - len(first)
    free = [*others, *optional[num_free:]]
    body = _Body(name, first, optional[:num_free], free, shape, later)
    return body.rules(), body.unheld


class _Body:
    def __init__(
        self,
        name: str,
        required: list[Pair],
        optional: list[Pair],
        others: list[Pair],
        shape: ObjectShape,
        later: list[list[Pair]],
    ) -> None:
        self._name = name
        self._required, self._optional, self._others = required, optional, others
        self._later = later
        self._least, self._most = shape.least, shape.most
        self.unheld: list[str] = []
        self._num_required = len(required)
        self._num_fields = len(required) + len(optional)
        self._settle_counts()

    def _settle_counts(self) -> None:
        num_needed = self._num_required + sum(map(len, self._later))
        if self._least <= num_needed:
            self._least = 0
        if self._most is not None and not self._others and self._num_fields <= self._most:
            self._most = None
        is_countable = not self._later and (not self._others or not self._num_fields)
        if self._least and not is_countable and (self._later or self._least > MAX_COUNTED):
            self.unheld.append("minProperties")
            self._least = 0
        if self._most is not None and not is_countable:
            if self._later or self._most - self._num_required > MAX_COUNTED:
                self.unheld.append("maxProperties")
                self._most = None
        self._is_counted = bool(self._others) and bool(self._least or self._most is not None)

    def rules(self) -> list[str]:
        name = self._name
        if not self._num_fields:
            return self._free_rules()
        may_be_empty = not self._num_required and not self._least
        empty = '"{" "}" | ' if may_be_empty else ""
        if self._most == 0:
            return [f'{name}: "{{" "}}"']
        lines = [f'{name}: {empty}"{{" {name}b::0 "}}"']
        if self._others:
            lines.append(f"{name}p: {' | '.join(pair.text for pair in self._others)}")
        lines += self._group_rules()
        for index, group in enumerate(self._later):
            lines += self._later_rules(index, group)
        return lines

    def _free_rules(self) -> list[str]:
        """Return the rules of an object without declared keys."""
        name, most = self._name, self._most
        empty = ['"{" "}"'] if not self._least else []
        if not self._others or most == 0:
            return [f"{name}: {' | '.join(empty)}"] if empty else []
        repeated = _repeated(f'"," {name}p', self._least - 1, None if most is None else most - 1)
        full = f'"{{" {name}p {repeated} "}}"'
        pairs = " | ".join(pair.text for pair in self._others)
        return [f"{name}: {' | '.join([*empty, full])}", f"{name}p: {pairs}"]

    def _group_rules(self) -> list[str]:
        name = self._name
        done = self._done()
        end = f'"," {name}g0b::0 %if {done}' if self._later else f'"" %if {done}'
        if not self._others:
            return [
                f"{name}b::_: {self._field_choices()}",
                f'{name}t::_: {end} | "," {name}b::_ %if {self._room_for_field()}',
            ]
        if self._is_counted:
            return self._counted_rules(end)
        return [
            f"{name}b::_: {name}m::_ | {name}x {name}u::_",
            f"{name}m::_: {self._field_choices()}",
            f'{name}t::_: {end} | "," {name}b::_',
            f'{name}u::_: {end} | "," {name}m::_ %if {self._room_for_field()}',
            f'{name}x: {name}p ("," {name}p)*',
        ]

    def _counted_rules(self, end: str) -> list[str]:
        name = self._name
        counter = self._counter()
        lines = [f"{name}m::_: {self._field_choices()}"]
        one_more = f"{name}p {name}t::incr({counter})"
        if self._most is not None:
            room = _or(self._room_for_field(), self._room_for_spare())
            lines += [
                f"{name}b::_: {name}m::_ | {one_more} %if {self._room_for_spare()}",
                f'{name}t::_: {end} | "," {name}b::_ %if {room}',
            ]
            return lines
        is_full = f"is_ones({counter})"
        return [
            *lines,
            f"{name}b::_: {name}m::_ | {one_more} %if not({is_full})"
            f" | {name}x {name}u::_ %if {is_full}",
            f'{name}t::_: {end} | "," {name}b::_',
            f'{name}u::_: {end} | "," {name}m::_ %if {self._room_for_field()}',
            f'{name}x: {name}p ("," {name}p)*',
        ]

    def _field_choices(self) -> str:
        """Return the declared keys, each where its bit is clear."""
        choices = []
        for bit, pair in enumerate((*self._required, *self._optional)):
            condition = f"bit_clear({bit})"
            if not pair.is_required and self._most is not None:
                condition = f"and({condition}, {self._room_for_spare()})"
            choices.append(f"{pair.text} {self._name}t::set_bit({bit}) %if {condition}")
        return " | ".join(choices)

    def _done(self) -> str:
        conditions = []
        if self._num_required:
            conditions.append(f"is_ones([0:{self._num_required}])")
        if self._least:
            conditions.append(self._counts("ge", 0, self._least))
        if not conditions:
            return "true"
        return conditions[0] if len(conditions) == 1 else f"and({conditions[0]}, {conditions[1]})"

    def _room_for_field(self) -> str:
        """Return the condition that some declared key may still come."""
        num_required, num_fields = self._num_required, self._num_fields
        missing = f"not(is_ones([0:{num_required}]))" if num_required else ""
        if num_required == num_fields:
            return missing
        spare = f"not(is_ones([{num_required}:{num_fields}]))"
        if self._most is not None:
            spare = f"and({spare}, {self._room_for_spare()})"
        return _or(missing, spare)

    def _room_for_spare(self) -> str:
        """Return the condition that a key which isn't required leaves room for those that are."""
        assert self._most is not None
        return self._counts("lt", self._num_required, self._most - self._num_required)

    def _counts(self, comparison: str, first_bit: int, number: int) -> str:
        """Return a condition on the bits set from `first_bit` on and the counter, together."""
        bits = f"[{first_bit}:{self._num_fields}]"
        has_bits = first_bit < self._num_fields
        if not self._is_counted:
            return f"bit_count_{comparison}({bits}, {number})" if has_bits else "true"
        counter, cases = self._counter(), []
        for counted in range(number + 1 if comparison == "ge" else number):
            exact = counted < number if comparison == "ge" else True
            equal = f"{'eq' if exact else 'ge'}({counter}, {counted})"
            left = number - counted
            if not has_bits:
                if comparison == "lt" or not exact:
                    cases.append(equal)
            elif not exact:
                cases.append(equal)
            else:
                cases.append(f"and({equal}, bit_count_{comparison}({bits}, {left}))")
        return _or(*cases)

    def _counter(self) -> str:
        highest = self._least if self._most is None else max(self._least, self._most)
        width = max(highest, 1).bit_length()
        return f"[{self._num_fields}:{self._num_fields + width}]"

    def _later_rules(self, index: int, group: list[Pair]) -> list[str]:
        """Return the rules of a later group of required keys, undeclared ones among them."""
        name, last = f"{self._name}g{index}", index == len(self._later) - 1
        full = f"is_ones([0:{len(group)}])"
        end = f'"" %if {full}' if last else f'"," {self._name}g{index + 1}b::0 %if {full}'
        choices = [
            f"{pair.text} {name}t::set_bit({bit}) %if bit_clear({bit})"
            for bit, pair in enumerate(group)
        ]
        if self._others:
            choices.append(f"{self._name}p {name}t::_")
        more = '"," ' + name + "b::_" + ("" if self._others else f" %if not({full})")
        return [f"{name}b::_: {' | '.join(choices)}", f"{name}t::_: {end} | {more}"]


def _or(*conditions: str) -> str:
    known = [condition for condition in conditions if condition]
    if not known:
        return "not(true)"
    text = known[-1]
    for condition in reversed(known[:-1]):
        text = f"or({condition}, {text})"
    return text


def _repeated(text: str, least: int, most: int | None) -> str:
    least = max(least, 0)
    if most is None:
        return f"({text})*" if not least else f"({text}){{{least},}}"
    return f"({text}){{{least},{most}}}" if most else ""
