"""The part `reuse`: how much of a prompt comes from the cache, row by row, ours beside stock."""

from collections.abc import Sequence
from typing import Final

from .reuse_figures import Reuse, Usage, new_tokens, reuse_of
from .reuse_rows import CLIENT_CAUSES, LOOPS, MODEL_CAUSES, ROWS, Row
from .scripted_loops import Loop, run_loops
from .workshop import OURS, STOCK, Workshop

TITLES: Final = (
    (LOOPS, "as it happens"),
    (MODEL_CAUSES, "one way of writing, in every turn"),
    (CLIENT_CAUSES, "one thing that the client does, in every turn"),
)
LEGEND: Final = """\
all: of the tokens that the cache can hold of a prompt (previous prompt and output but for the last
token), how many came from it, %. own: of the previous output alone. prefill: prompt tokens
computed, relative to those that stand behind the previous output (below 1 where the client was
shown less than was written, and sends less). full: turns that found everything. No client here
changes what a message says. Stock runs the single causes for the fewest turns only."""


def run(workshop: Workshop) -> list[str]:
    """Print a table for each number of turns; a miss is each row of ours that is not full."""
    ours, stock = workshop.servers(OURS, STOCK)
    turns = sorted(set(workshop.args.turns))
    plan = [
        *(Loop(ours.url, row, turns[-1]) for row in ROWS),
        *(Loop(stock.url, row, turns[-1] if row in LOOPS else turns[0]) for row in ROWS),
    ]
    usages = run_loops(workshop.served_vocabulary, plan)
    pairs = list(zip(usages[: len(ROWS)], usages[len(ROWS) :], strict=True))
    workshop.plot_data.loops += pairs
    misses = []
    for num_turns in turns:
        figures = [figures_of(*pair, num_turns) for pair in pairs]
        print(f"{num_turns} turns\n\n{written(figures)}\n", flush=True)
        misses += [
            f"reuse, {num_turns} turns: {row.name}: {ours.full_hits} of {ours.num_turns} full"
            for row, (ours, _) in zip(ROWS, figures, strict=True)
            if not ours.is_full
        ]
    print(LEGEND)
    return misses


def figures_of(
    ours: Sequence[Usage], stock: Sequence[Usage], num_turns: int
) -> tuple[Reuse, Reuse | None]:
    """Return the figures of a row's first turns on both servers; None where it took fewer."""
    minimum = new_tokens(ours)
    return (
        reuse_of(ours[:num_turns], minimum),
        reuse_of(stock[:num_turns], minimum) if len(stock) >= num_turns else None,
    )


def written(table: Sequence[tuple[Reuse, Reuse | None]]) -> str:
    """Return the lines of a table whose rows are ROWS, a heading above each group."""
    cells = "   all    own  prefill   full"
    lines = [f"{'':<54}{'ours':^29}  {'stock':^29}".rstrip(), f"{'':<54}{cells}  {cells}"]
    figures = iter(table)
    for rows, title in TITLES:
        lines.append(f"-- {title}")
        lines += [_line(row, *next(figures)) for row in rows]
    return "\n".join(lines)


def _line(row: Row, ours: Reuse, stock: Reuse | None) -> str:
    of_stock = "" if stock is None else f"  {_cells(stock)}"
    return f"{row.output:<29} {row.client:<24}{_cells(ours)}{of_stock}"


def _cells(reuse: Reuse) -> str:
    # Rounded down: what is not whole must not look so.
    shares = "".join(f"{int(share * 1000) / 10:>6.1f} " for share in (reuse.all, reuse.own))
    return f"{shares}{reuse.prefill:>7.2f}x {f'{reuse.full_hits}/{reuse.num_turns}':>6}"
