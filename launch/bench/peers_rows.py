"""One row of `bench peers`: what both sides did in each round, their ratio and its target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

Show = Callable[[str], None]

OURS, IK = "ours", "ik-llama"
_WIDTH = 24


@dataclass
class Row:
    """Values by round, of both sides in turn.

    is_rate: tokens/s, more is better; else seconds, shown as milliseconds.
    target: what `ratio` has to reach; None where it is only shown.
    """

    name: str
    is_rate: bool
    target: float | None
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Return how much faster ours is: the median of the rounds' ratios."""
        pairs = list(zip(self.ours, self.theirs, strict=True))
        return median(a / b if self.is_rate else b / a for a, b in pairs)

    @property
    def misses(self) -> list[str]:
        """Return a line if the target is missed."""
        if self.target is None or self.ratio >= self.target:
            return []
        return [f"{self.name}: {self.ratio:.2f}x {IK}, want {self.target:.1f}x"]

    def __str__(self) -> str:
        """Return the row as the table shows it."""
        theirs = self._cell(self.theirs) if self.theirs else f"{'-':>22}"
        ratio = f"{self.ratio:>7.2f}x" if self.theirs else f"{'-':>8}"
        want = "" if self.target is None else f"  >= {self.target:.1f}x"
        return f"{self.name:<{_WIDTH}}{self._cell(self.ours)}{theirs}{ratio}{want}"

    def _cell(self, values: Sequence[float]) -> str:
        best = max(values) if self.is_rate else min(values)
        scale, unit = (1.0, "tok/s") if self.is_rate else (1e3, "ms")
        return f"{f'{median(values) * scale:.1f} ({best * scale:.1f}) {unit}':>22}"


def header() -> str:
    """Return the line above the rows."""
    return f"{'median (best)':<{_WIDTH}}{OURS:>22}{IK:>22}{'ratio':>8}  target"
