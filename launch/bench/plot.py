"""The benchmark's figures as one picture; needs the extra `plot`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from sglang_kimi.launch.jsonlines import UsageError

from .reuse_figures import Usage, new_tokens, reuse_of
from .reuse_rows import LOOPS, ROWS

_FORMATS: Final = (".png", ".svg", ".pdf")
_OURS: Final = {"color": "#1b7837", "label": "ours"}
_STOCK: Final = {"color": "#9e9e9e", "label": "stock"}

Usages = Sequence[Usage]


@dataclass
class PlotData:
    """What the parts leave for the plot; empty where a part did not run.

    costs: (prompt tokens, ours, stock), the times in ms. loops: (ours, stock) of each of ROWS.
    """

    costs: list[tuple[int, float, float]] = field(default_factory=list)
    loops: list[tuple[Usages, Usages]] = field(default_factory=list)


def check_plot(path: Path, parts: Sequence[str]) -> None:
    """Raise UsageError if no plot can be written there: better before the work than behind it."""
    if not {"cost", "reuse"} & set(parts):
        raise UsageError(f"--plot: want the part cost or reuse, found --part {' '.join(parts)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "--plot: matplotlib is not installed; it comes with the extra `plot`: "
            "pip install 'sglang-kimi[plot]'"
        ) from error
    if path.suffix not in _FORMATS:
        raise UsageError(
            f"--plot: want a name that ends in {', '.join(_FORMATS)}, found {path.name!r}"
        )
    if not path.parent.is_dir():
        raise UsageError(f"--plot: no folder {str(path.parent)!r}")


def draw(path: Path, data: PlotData) -> None:
    """Write the plot: reuse by row, tokens computed by turn, time by length of the prompt."""
    from matplotlib.figure import Figure

    if not data.loops:
        figure = Figure(figsize=(8, 6), layout="constrained")
        _draw_costs(figure.subplots(), data.costs)
    else:
        figure = Figure(figsize=(15, 11), layout="constrained")
        left, right = cast(Any, figure.subfigures(1, 2, width_ratios=(3, 2)))
        _draw_rows(left.subplots(), data.loops)
        below = right.subplots(2 if data.costs else 1, squeeze=False)[:, 0]
        _draw_turns(below[0], data.loops)
        if data.costs:
            _draw_costs(below[1], data.costs)
    figure.savefig(path)


def _draw_rows(axes: Any, loops: Sequence[tuple[Usages, Usages]]) -> None:
    places = range(len(ROWS))
    for which, shift, style in ((0, -0.2, _OURS), (1, 0.2, _STOCK)):
        shares = [100 * reuse_of(pair[which], new_tokens(pair[0])).own for pair in loops]
        axes.barh([place + shift for place in places], shares, 0.4, **style)
    axes.set_yticks(places, [row.name for row in ROWS], fontsize=8)
    axes.invert_yaxis()
    axes.set_ylim(len(ROWS) - 0.5, -0.5)
    axes.set_title("the model's own output found in the cache")
    axes.set_xlabel("%")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.04), ncols=2)


def _draw_turns(axes: Any, loops: Sequence[tuple[Usages, Usages]]) -> None:
    for usages, style in zip(zip(*loops, strict=True), (_OURS, _STOCK), strict=True):
        means = mean_computed(usages[: len(LOOPS)])
        axes.plot(range(2, len(means) + 2), means, **style)
    axes.set_title(f"prompt tokens computed, mean of the first {len(LOOPS)} rows")
    axes.set_xlabel("turn")
    axes.set_ylim(bottom=0)
    axes.legend()


def _draw_costs(axes: Any, costs: Sequence[tuple[int, float, float]]) -> None:
    sizes = [tokens for tokens, _, _ in costs]
    axes.plot(sizes, [ours for _, ours, _ in costs], marker="o", **_OURS)
    axes.plot(sizes, [stock for _, _, stock in costs], marker="o", **_STOCK)
    axes.set_yscale("log")
    axes.set_title("building a prompt, new turn of about 500 tokens")
    axes.set_xlabel("prompt tokens")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylabel("ms")
    axes.legend()


def mean_computed(loops: Sequence[Usages]) -> list[float]:
    """Return for each turn from the second on the mean of the prompt tokens computed."""
    return [
        sum(usage.prompt - usage.cached for usage in turn) / len(turn)
        for turn in list(zip(*loops, strict=True))[1:]
    ]
