"""The part `pages`: what a prefix cache of whole pages of 64 tokens loses per turn."""

from itertools import pairwise
from typing import Final

from .reuse_figures import Usage
from .reuse_rows import LOOPS
from .scripted_loops import Loop, run_loops
from .workshop import OURS_IN_PAGES, PAGE_SIZE, STOCK, Workshop

_NUM_TURNS: Final = 8


def run(workshop: Workshop) -> list[str]:
    """Print each turn's loss; a miss is each row with more lost than the last page's part."""
    workshop.stop(STOCK)
    url = workshop.server(OURS_IN_PAGES).url
    loops = [Loop(url, row, _NUM_TURNS) for row in LOOPS]
    usages = run_loops(workshop.served_vocabulary, loops)
    workshop.stop(OURS_IN_PAGES)
    turns = "".join(f"{turn:>5}" for turn in range(2, _NUM_TURNS + 1))
    print(f"{'reusable tokens computed again, by turn':<54}{turns}   most")
    misses = []
    for row, loop in zip(LOOPS, usages, strict=True):
        losses = losses_of(loop)
        cells = "".join(f"{loss:>5}" for loss in losses)
        print(f"{row.output:<29} {row.client:<24}{cells}{max(losses):>7}")
        if max(losses) >= PAGE_SIZE:
            misses.append(f"pages: {row.name}: {max(losses)} tokens lost, want less than a page")
    return misses


def losses_of(usages: list[Usage]) -> list[int]:
    """Return for each turn from the second on how many reusable tokens were computed again."""
    return [max(0, before.reusable - after.cached) for before, after in pairwise(usages)]
