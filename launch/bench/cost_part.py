"""The part `cost`: prints what building prompts takes."""

from .cost_table import show_costs
from .workshop import Workshop


def run(workshop: Workshop) -> list[str]:
    """Print the tables; returns a line for each target that is missed."""
    rows, misses = show_costs(workshop.vocabulary, workshop.args.tokens, print)
    workshop.plot_data.costs += [
        (row.num_tokens, row.ours.build * 1e3, row.stock.build * 1e3) for row in rows
    ]
    return misses
