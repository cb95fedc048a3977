"""Tool-call ids: what an id says, and which id a call gets.

The native form is `functions.NAME:INDEX`, INDEX counting the conversation's calls from 0. Names are
looked up among the declared tools, so they may hold any character.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from .declared_tools import DeclaredTools
from .repairs import Repair

PREFIX: Final = "functions."
# Nine digits at most: an index is a count, and int() refuses thousands of digits.
_INDEX: Final = re.compile(r"[0-9]{1,9}")
# What clients' sanitizers leave of a native id: functions_Bash_0, Bash-0.
_SANITIZED_HEAD: Final = re.compile(r"(functions[^0-9A-Za-z])?")
_SANITIZED_TAIL: Final = re.compile(r"[^0-9A-Za-z]([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class NamedId:
    """An id that tells the tool; `index` is None where it gives none."""

    name: str
    index: int | None
    repairs: tuple[Repair, ...] = ()

    @property
    def is_declared(self) -> bool:
        """Tell whether the id spells a declared name, nothing around it."""
        return not {Repair.UNDECLARED_NAME, Repair.NAME_RECOVERED}.intersection(self.repairs)

    @property
    def is_plain(self) -> bool:
        """Tell whether the id is sure to be one: native in full, or a declared name."""
        return self.is_declared or self.repairs == (Repair.UNDECLARED_NAME,)


@dataclass(frozen=True, slots=True)
class NamelessId:
    """An id that doesn't: the arguments have to decide between the `candidates`."""

    candidates: tuple[str, ...]
    index: int | None
    is_declared: ClassVar[bool] = False
    is_plain: ClassVar[bool] = False


def read_id(text: str, tools: DeclaredTools) -> NamedId | NamelessId:
    """Find the tool and the index that an id names, repairing what is missing (I1, I3, I4, N1, N2).

    Declared names come first, in the most native reading that has one; then a full native id or a
    part of one names an undeclared tool; any other text is searched for a declared name.
    """
    text = text.strip()
    has_prefix = text.startswith(PREFIX)
    readings = _readings(text, has_prefix=False)
    if has_prefix:  # the bare reading stays: a tool's own name may begin with the prefix
        readings = _readings(text.removeprefix(PREFIX), has_prefix=True) + readings
    for reading in readings:
        for name in (reading.name, reading.name.strip()):
            if name in tools:
                return NamedId(name, reading.index, reading.repairs)
    best = readings[0]
    is_name = bool(best.name.strip()) and _INDEX.fullmatch(best.name.strip()) is None
    undeclared = NamedId(best.name.strip(), best.index, (*best.repairs, Repair.UNDECLARED_NAME))
    if is_name and has_prefix and best.index is not None:
        return undeclared
    found = tools.named_inside(text)
    if len(found) == 1:
        index = best.index if best.index is not None else _sanitized_index(text, found[0])
        return NamedId(found[0], index, (Repair.NAME_RECOVERED,))
    if is_name and (has_prefix or best.index is not None):
        return undeclared
    index = _bare_index(best)
    only = tools.only()
    if only is not None:
        return NamedId(only, index, (Repair.NAME_RECOVERED,))
    return NamelessId(tuple(found or tools.by_name), index)


def looks_like_id(text: str, tools: DeclaredTools) -> bool:
    """Tell whether text is a native id or the beginning of one, or names a declared tool."""
    text = text.strip()
    if not text:
        return False
    if text.startswith(PREFIX) or PREFIX.startswith(text):
        return True
    return read_id(text, tools).is_declared


def _readings(rest: str, *, has_prefix: bool) -> list[NamedId]:
    """Return the ways to read what follows the prefix, the one with an index first."""
    repairs = () if has_prefix else (Repair.PREFIX_REPAIRED,)
    readings = []
    name, colon, digits = rest.rpartition(":")
    if colon and _INDEX.fullmatch(digits.strip()):
        readings.append(NamedId(name, int(digits), repairs))
    readings.append(NamedId(rest, None, (*repairs, Repair.INDEX_REPAIRED)))
    return readings


def _bare_index(reading: NamedId) -> int | None:
    """Return the index of an id that is nothing but one (`3`, `functions.3`, `:3`)."""
    digits = reading.name.strip()
    if reading.index is None and _INDEX.fullmatch(digits):
        return int(digits)
    return reading.index


def _sanitized_index(text: str, name: str) -> int | None:
    head, _, tail = text.rpartition(name)
    if not _SANITIZED_HEAD.fullmatch(head):
        return None
    match = _SANITIZED_TAIL.fullmatch(tail)
    return int(match[1]) if match else None


class CallHistory:
    """The ids of a conversation's calls, read once as the conversation goes on.

    used: the ids. next_free: from a taken index towards the next free one. position: the index of
    the next call.
    """

    def __init__(self, call_ids: Sequence[str] = ()) -> None:
        """Start with the ids of the first calls."""
        self.used: set[str] = set()
        self.next_free: dict[int, int] = {}
        self.position = 0
        self.add(call_ids)

    def add(self, call_ids: Sequence[str]) -> None:
        """Add the ids of the next calls."""
        for call_id in call_ids:
            self.used.add(call_id)
            self.position += 1
            _, _, digits = call_id.rpartition(":")
            if call_id.startswith(PREFIX) and _INDEX.fullmatch(digits):
                index = int(digits)
                self.next_free.setdefault(index, index + 1)
                # A client that cut its history still knows the calls before it: count on from
                # the highest index, not from the number of calls that are left.
                self.position = max(self.position, index + 1)


class CallIds:
    """Give each call of an answer an id that neither the answer nor the history has (I1 to I3)."""

    def __init__(self, history: Sequence[str] | CallHistory | int, counters: Counter[str]) -> None:
        """Start behind a history: the ids of its calls, or their mere number (indices 0..n-1)."""
        self._counters = counters
        self._num_counted = history if isinstance(history, int) else 0
        if isinstance(history, CallHistory):
            read = history
        else:
            read = CallHistory(() if isinstance(history, int) else history)
        self._used = set(read.used)
        self._next_free = dict(read.next_free)
        self._position = max(read.position, self._num_counted)

    def give(self, name: str, index: int | None) -> str:
        """Return the id for the next call, with the model's own index wherever that is free."""
        if index is None:
            index = self._free(self._position)
        elif index < self._num_counted or f"{PREFIX}{name}:{index}" in self._used:
            self._counters[Repair.ID_USED] += 1
            index = self._free(index)
        call_id = f"{PREFIX}{name}:{index}"
        self._used.add(call_id)
        self._take(index)
        self._position += 1
        return call_id

    def _take(self, index: int) -> None:
        self._next_free.setdefault(index, index + 1)

    def _free(self, index: int) -> int:
        """Return the lowest index from `index` up that no call has; short cuts keep it linear."""
        index = max(index, self._num_counted)
        passed = []
        while index in self._next_free:
            passed.append(index)
            index = self._next_free[index]
        for taken in passed:
            self._next_free[taken] = index
        return index
