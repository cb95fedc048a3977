"""A row of `bench kernels`: interleaved timing, ratios, shares of the machine's limits."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Final

import torch
from torch import Tensor

Form = Callable[[], Tensor]
Show = Callable[[str], None]
_LONG_CALL_S: Final = 0.1  # beside it waking threads is nothing


@dataclass(frozen=True)
class Limits:
    """What this machine can do: bytes read a second, float operations a second."""

    bytes_s: float
    flops_s: float


@dataclass(frozen=True)
class Row:
    """One shape: seconds of every form, work done by one call, error of ours."""

    name: str
    seconds: Mapping[str, Sequence[float]]
    share: float
    rate: str
    error: float
    others: Mapping[str, float] = field(default_factory=dict)
    """Forms measured apart from these seconds: how many times longer than ours they take."""

    def ratio(self, form: str) -> float:
        """Return how many times longer another form takes."""
        if form in self.others:
            return self.others[form]
        return median(self.seconds[form]) / median(self.seconds["ours"])

    def text(self) -> str:
        """Return the printed line."""
        ours = [second * 1e3 for second in self.seconds["ours"]]
        forms = [form for form in (*self.seconds, *self.others) if form != "ours"]
        ratios = "  ".join(f"{form} {self.ratio(form):.1f}x" for form in forms)
        return (
            f"{self.name:<34} {median(ours):>9.2f} {quantiles(ours, n=10)[-1]:>9.2f}"
            f"  {self.rate:>12}  {self.share:>5.0%}  {self.error:>8.1e}  {ratios}"
        )


def measure_limits() -> Limits:
    """Measure the read and arithmetic limits, best of seven."""
    words = torch.ones(1 << 27, dtype=torch.int64)
    matrix = torch.rand(2048, 2048)
    read_s = min(times({"": lambda: words.sum()}, 7)[""])
    product_s = min(times({"": lambda: matrix @ matrix}, 7)[""])
    return Limits(words.numel() * 8 / read_s, 2 * 2048**3 / product_s)


def once(form: Form) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    form()
    return time.perf_counter() - start


def awake_once(form: Form) -> float:
    """Return the seconds of one call after one that wakes the threads, if it is a short one."""
    seconds = once(form)
    return once(form) if seconds < _LONG_CALL_S else seconds


def times(forms: Mapping[str, Form], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every form, called in turns after a first call that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for form in forms.values():
        form()
    for _ in range(rounds):
        for name, form in forms.items():
            seconds[name].append(once(form))
    return seconds


def relative_error(found: Tensor, exact: Tensor) -> float:
    """Return the relative L2 error of the first rows, as many as `exact` has."""
    found = found[: exact.shape[0]].double()
    return float((found - exact).norm() / exact.norm())
