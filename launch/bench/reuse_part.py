"""The part `reuse`: how much of a prompt comes from the cache, row by row, ours beside stock."""

from collections.abc import Sequence
from typing import Final

from .reuse_figures import Reuse, new_tokens, reuse_of
from .reuse_rows import CLIENT_CAUSES, LOOPS, MODEL_CAUSES, ROWS, Row
from .scripted_loops import Usages, run_loops
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
changes what a message says."""


def run(workshop: Workshop) -> list[str]:
    """Print a table for each number of turns; a miss is each row of ours that is not full."""
    urls = {
        kind.name: server.url
        for kind, server in zip((OURS, STOCK), workshop.servers(OURS, STOCK), strict=True)
    }
    turns = sorted(workshop.args.turns)
    usages = run_loops(urls, workshop.served_vocabulary, ROWS, turns[-1])
    workshop.plot_data.usages = usages
    misses = []
    for num_turns in turns:
        table = figures_of(usages, num_turns)
        print(f"{num_turns} turns\n\n{written(table)}\n", flush=True)
        misses += [
            f"reuse, {num_turns} turns: {row.name}: {ours.full_hits} of {ours.num_turns} full"
            for row, (ours, _) in zip(ROWS, table, strict=True)
            if not ours.is_full
        ]
    print(LEGEND)
    return misses


def figures_of(usages: Usages, num_turns: int) -> list[tuple[Reuse, Reuse]]:
    """Return (ours, stock) for each row, over so many turns of its loop."""
    table = []
    for ours, stock in zip(usages[OURS.name], usages[STOCK.name], strict=True):
        minimum = new_tokens(ours)
        pair = (reuse_of(ours[:num_turns], minimum), reuse_of(stock[:num_turns], minimum))
        table.append(pair)
    return table


def written(table: Sequence[tuple[Reuse, Reuse]]) -> str:
    """Return the lines of a table whose rows are ROWS, a heading above each group."""
    cells = "   all    own  prefill   full"
    lines = [f"{'':<54}{'ours':^29}  {'stock':^29}", f"{'':<54}{cells}  {cells}"]
    figures = iter(table)
    for rows, title in TITLES:
        lines.append(f"-- {title}")
        lines += [_line(row, *next(figures)) for row in rows]
    return "\n".join(lines)


def _line(row: Row, ours: Reuse, stock: Reuse) -> str:
    return f"{row.output:<29} {row.client:<24}{_cells(ours)}  {_cells(stock)}"


def _cells(reuse: Reuse) -> str:
    # Rounded down: what is not whole must not look so.
    shares = "".join(f"{int(share * 1000) / 10:>6.1f} " for share in (reuse.all, reuse.own))
    return f"{shares}{reuse.prefill:>7.2f}x {f'{reuse.full_hits}/{reuse.num_turns}':>6}"
