"""The tables of prompt cost as the command prints them, and which of them miss their target."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from sglang_kimi.codec.vocabulary import Vocabulary

from .codec_cost import (
    CostRow,
    SessionTotal,
    growth_us_per_1k,
    measure_prompts,
    measure_session,
)
from .prompt_process import PromptProcess, Times
from .sessions import Session, many_tools

Show = Callable[[str], None]

_MIN_RATIO: Final = 50
_RATIO_FROM_TOKENS: Final = 128_000
_MIN_SESSION_RATIO: Final = 30
_MAX_GROWTH_US: Final = 20
_NUM_TOOLS: Final = (25, 128)
_HEAD: Final = """\
One new turn of about 500 tokens; medians of 7, ms of CPU time. Both sides run in SGLang's chat
handler on the same bodies, one after the other, each body parsed anew. build: the validated request
to the prompt's ids. stock: template and tokenizer, the latter ours; released: stock and a loop over
every character in Python, as the release's own tokenizer makes it. ratio: released / ours. answer:
what ours takes besides when an answer is there, to remember and read it in a thread. Around the
build, on both sides: parse (pydantic), check (SGLang's check of the request, tools' schemas too),
rest (grammar, sampling parameters).
"""


def show_costs(
    vocabulary: Vocabulary, sizes: Sequence[int], show: Show
) -> tuple[list[CostRow], list[str]]:
    """Measure and show everything; return the rows by size, and a line for each missed target.

    vocabulary: of a checkpoint's folder with a config.json, else UsageError.
    """
    with PromptProcess(Path(vocabulary.directory)) as process:
        show(_HEAD)
        show(_title("prompt tokens"))
        rows = measure_prompts(process, lambda: Session(vocabulary), sorted(sizes))
        for row in rows:
            show(_line(f"{row.num_tokens:,}", row))
        if len(rows) > 1:
            growth = growth_us_per_1k(rows)
            show(f"\ngrowth of ours: {growth:.1f} µs per 1,000 tokens of history\n")
        show(_title("tools"))
        for num_tools in _NUM_TOOLS:
            tools = many_tools(num_tools)
            sessions = partial(Session, vocabulary, seed=num_tools, tools=tools)
            (row,) = measure_prompts(process, sessions, [0])
            show(_line(f"{num_tools}", row))
        sessions = partial(Session, vocabulary, seed=9)
        total = measure_session(process, sessions, num_turns=100, num_chars=4000)
        show(
            f"\nsession of {total.num_turns} turns up to {total.num_tokens:,} tokens: ours "
            f"{total.ours_s * 1e3:,.0f} ms, stock {total.stock_s * 1e3:,.0f} ms, "
            f"released {total.released_s * 1e3:,.0f} ms: {total.ratio:.0f}x; "
            f"answers besides {total.record_s * 1e3:,.0f} ms"
        )
    return rows, list(_misses(rows, total))


def _misses(rows: Sequence[CostRow], total: SessionTotal) -> Iterator[str]:
    for row in rows:
        if row.num_tokens >= _RATIO_FROM_TOKENS and row.ratio < _MIN_RATIO:
            yield f"{row.num_tokens:,} tokens: {row.ratio:.0f}x, want {_MIN_RATIO}x"
    if len(rows) > 1 and growth_us_per_1k(rows) > _MAX_GROWTH_US:
        yield f"growth: {growth_us_per_1k(rows):.1f} µs per 1,000 tokens, want {_MAX_GROWTH_US}"
    if total.num_tokens > 100_000 and total.ratio < _MIN_SESSION_RATIO:
        yield f"session: {total.ratio:.0f}x, want {_MIN_SESSION_RATIO}x"


def _title(name: str) -> str:
    head = f"{name:>13}  {'build: ours':>11}  {'stock':>7}  {'released':>8}  {'ratio':>5}"
    head += f"  {'answer':>6}"
    return head + "".join(
        f"  {side + ': parse':>12}  {'check':>6}  {'rest':>5}" for side in ("ours", "stock")
    )


def _line(name: str, row: CostRow) -> str:
    return (
        f"{name:>13}  {row.ours.build * 1e3:>11.2f}  {row.stock.build * 1e3:>7.1f}"
        f"  {row.released_s * 1e3:>8.1f}  {row.ratio:>4.0f}x  {row.record_s * 1e3:>6.2f}"
        f"{_around(row.ours)}{_around(row.stock)}"
    )


def _around(times: Times) -> str:
    return f"  {times.parse * 1e3:>12.2f}  {times.check * 1e3:>6.2f}  {times.rest * 1e3:>5.2f}"
