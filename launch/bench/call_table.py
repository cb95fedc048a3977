"""Figures of answers that must be calls, by the kind of request or the shape of the schema."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from .call_checks import argument_fault, faults_of, is_complete
from .chat_answers import AnsweredCall, ChatAnswer
from .schema_facts import facts_of
from .tool_requests import ToolRequest

_HEAD: Final = ("requests", "answered", "complete", "calls", "valid", "warned", "tokens")
_NAME_WIDTH: Final = 42


@dataclass
class Figures:
    """Sums over requests.

    num_answered: requests that got a call. num_complete: whose last call is whole as well.
    num_valid: calls whose arguments satisfy the tool's schema. num_warned: calls that do not, by a
    keyword that no grammar holds, and whose answer says so.
    """

    num_requests: int = 0
    num_answered: int = 0
    num_complete: int = 0
    num_calls: int = 0
    num_valid: int = 0
    num_warned: int = 0
    num_tokens: int = 0

    def add(self, other: "Figures") -> None:
        """Add the sums of other requests."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def cells(self) -> str:
        """Return the figures as the cells of a table's row."""
        return "".join(f"{value:>10,}" for value in vars(self).values())


@dataclass(frozen=True)
class Judged:
    """One request, the figures of its answer, and what is wrong with it."""

    request: ToolRequest
    figures: Figures
    faults: Sequence[str]


def judge(
    request: ToolRequest, answer: ChatAnswer, control_texts: Sequence[str], *, fits: bool
) -> Judged:
    """Judge one answer.

    fits: whether some arguments fit into the request's max_tokens; without, an incomplete call is
    what must come.
    """
    faults = faults_of(request, answer, control_texts)
    if not answer.faults and not answer.calls:
        faults.append(f"no call; ended by {answer.finish_reason!r}")
    elif not answer.faults and fits and not is_complete(answer):
        faults.append(f"ended by {answer.finish_reason!r}: {answer.calls[-1].arguments[-60:]!r}")
    whole = answer.calls if is_complete(answer) else answer.calls[:-1]
    found = [(call, argument_fault(call, request.tools)) for call in whole]
    wrong = [(call, fault) for call, fault in found if fault is not None]
    warned = [call for call, _ in wrong if _is_warned(call, request, answer)]
    faults += [f"{call.name}: {fault}" for call, fault in wrong if call not in warned]
    figures = Figures(
        num_requests=1,
        num_answered=bool(answer.calls),
        num_complete=is_complete(answer),
        num_calls=len(answer.calls),
        num_valid=len(whole) - len(wrong),
        num_warned=len(warned),
        num_tokens=answer.num_tokens,
    )
    return Judged(request, figures, faults)


def _is_warned(call: AnsweredCall, request: ToolRequest, answer: ChatAnswer) -> bool:
    schema = request.tools.get(call.name)
    return bool(answer.warnings and schema is not None and facts_of(schema).relaxed)


def table(
    judged: Iterable[Judged], title: str, name_of: Callable[[ToolRequest], str]
) -> Iterator[str]:
    """Yield the lines of a table with a row for each name, in the order of coming, and a total."""
    rows: dict[str, Figures] = {}
    total = Figures()
    for one in judged:
        rows.setdefault(name_of(one.request), Figures()).add(one.figures)
        total.add(one.figures)
    yield f"{title:<{_NAME_WIDTH}}" + "".join(f"{cell:>10}" for cell in _HEAD)
    yield from (f"{name:<{_NAME_WIDTH}}{row.cells}" for name, row in rows.items())
    yield f"{'all':<{_NAME_WIDTH}}{total.cells}"


def misses(judged: Iterable[Judged], name_of: Callable[[ToolRequest], str]) -> list[str]:
    """Return a line for each name and mode with faults: the first, and how many there are."""
    found: dict[str, list[str]] = {}
    for one in judged:
        if one.faults:
            key = f"{name_of(one.request)} ({one.request.mode})"
            found.setdefault(key, []).extend(one.faults)
    return [f"{key}: {lines[0]} [{len(lines)}]" for key, lines in found.items()]
