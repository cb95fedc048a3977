"""The demo's table: plain text, aligned, one line a turn and the sums below."""

from collections.abc import Sequence

from .agent import Turn

WIDTHS = (4, 34, 8, 11, 10, 7, 8, 8)
TITLES = ("turn", "tools called", "prompt", "from cache", "reusable", "reused", "output", "time")


def header() -> str:
    """Return the table's two title lines."""
    return f"{_line(TITLES)}\n{_line(['-' * width for width in WIDTHS])}"


def row(turn: Turn) -> str:
    """Return the line of one turn."""
    share = turn.reused_share
    return _line(
        (
            str(turn.number),
            turn.action,
            str(turn.prompt_tokens),
            str(turn.cached_tokens),
            str(turn.reusable_tokens) if turn.reusable_tokens else "-",
            "-" if share is None else f"{share:.1%}",
            str(turn.completion_tokens),
            f"{turn.wall_s:.1f} s",
        )
    )


def totals(turns: Sequence[Turn]) -> str:
    """Return the line of sums; its share counts the turns that had something to reuse."""
    later = [turn for turn in turns if turn.reusable_tokens]
    reusable = sum(min(turn.reusable_tokens, turn.prompt_tokens) for turn in later)
    reused = sum(turn.cached_tokens for turn in later)
    sums = _line(
        (
            "all",
            f"{len(turns)} turns",
            str(sum(turn.prompt_tokens for turn in turns)),
            str(sum(turn.cached_tokens for turn in turns)),
            str(reusable),
            f"{reused / reusable:.1%}" if reusable else "-",
            str(sum(turn.completion_tokens for turn in turns)),
            f"{sum(turn.wall_s for turn in turns):.1f} s",
        )
    )
    return f"{_line(['-' * width for width in WIDTHS])}\n{sums}"


def legend() -> str:
    """Return what the columns mean."""
    return (
        "prompt, output: tokens of the turn's request and answer. from cache: prompt tokens that\n"
        "the server took from its prefix cache. reusable: previous prompt + previous output, all\n"
        "that the cache can hold of this prompt. reused: from cache / reusable."
    )


def _line(cells: Sequence[str]) -> str:
    left = (0, 1)
    padded = [
        f"{cell[:width]:<{width}}" if i in left else f"{cell:>{width}}"
        for i, (cell, width) in enumerate(zip(cells, WIDTHS, strict=True))
    ]
    return "  ".join(padded).rstrip()
