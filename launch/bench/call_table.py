"""Figures of answers that must be calls, by the kind of request or the shape of the schema."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from .call_checks import argument_fault, faults_of, is_complete
from .chat_answers import ChatAnswer
from .tool_requests import ToolRequest

_HEAD: Final = ("requests", "answered", "complete", "calls", "valid", "tokens")
_NAME_WIDTH: Final = 42


@dataclass
class Figures:
    """Sums over requests.

    num_answered: requests that got a call. num_complete: whose last call is whole as well.
    num_valid: calls whose arguments satisfy the tool's schema.
    """

    num_requests: int = 0
    num_answered: int = 0
    num_complete: int = 0
    num_calls: int = 0
    num_valid: int = 0
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


def judge(request: ToolRequest, answer: ChatAnswer, control_texts: Sequence[str]) -> Judged:
    """Judge one answer. An incomplete call is a fault: every request here leaves enough room."""
    faults = faults_of(request, answer, control_texts)
    wrong = [argument_fault(call, request.tools) for call in answer.calls]
    if not answer.faults and not answer.calls:
        faults.append(f"no call; ended by {answer.finish_reason!r}")
    elif not answer.faults and not is_complete(answer):
        faults.append(f"ended by {answer.finish_reason!r}: {answer.calls[-1].arguments[-60:]!r}")
    faults += [f"{c.name}: {w}" for c, w in zip(answer.calls, wrong, strict=True) if w]
    figures = Figures(
        num_requests=1,
        num_answered=bool(answer.calls),
        num_complete=is_complete(answer),
        num_calls=len(answer.calls),
        num_valid=wrong.count(None),
        num_tokens=answer.num_tokens,
    )
    return Judged(request, figures, faults)


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
