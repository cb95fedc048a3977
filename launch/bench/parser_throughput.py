"""The part `throughput`: long arguments in small pieces, through our parser and stock's detector.

The arguments write a file of Python source. Ours reads them as token ids, as the server does, and
as text; stock's detector as text, in a process of its own since this room does not import SGLang.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sglang_kimi.parsers
from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.parsers import vocabulary as v
from sglang_kimi.parsers.events import Event
from sglang_kimi.parsers.output_parser import OutputParser
from sglang_kimi.parsers.text_front import TextFront

from .line_process import LineProcess
from .workshop import Workshop

PIECE_CHARS: Final = 4
SIZES: Final = tuple(1024 * kilo for kilo in (1, 4, 16, 64, 256, 1024))
COMPARED_SIZE: Final = 256 * 1024
GROWTH_FROM_SIZE: Final = COMPARED_SIZE // 4
MIN_TIMES_FASTER: Final = 100
MAX_GROWTH: Final = 4.5  # of the time, from a quarter of the size
_REPEATS: Final = 3
_STOCK_LIMIT_S: Final = 30.0
_STOCK_MODULE: Final = "sglang_kimi.chat.stock_detector_cost"
_TOOLS: Final = [
    {
        "type": "function",
        "function": {
            "name": "write_file",
            "parameters": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "text": {"type": "string"}},
            },
        },
    }
]
_BEGIN: Final = f"{v.SECTION_BEGIN}{v.CALL_BEGIN}functions.write_file:0{v.ARGUMENT_BEGIN}"
_END: Final = f"{v.CALL_END}{v.SECTION_END}"

HEAD: Final = f"""\
A call that writes a file of Python source; CPU time, ours the best of {_REPEATS}. ids: a token at a
time, as the server reads them. text: the same machine over text, {PIECE_CHARS} characters at a
time. stock: KimiK2Detector.parse_streaming_increment on the same pieces, once, for at most
{_STOCK_LIMIT_S:.0f} s. ratio: stock / text."""
_HEADINGS: Final = (
    f"{'characters':>10}{'tokens':>9}{'ids ms':>10}{'text ms':>10}{'stock ms':>12}{'ratio':>9}"
)


@dataclass(frozen=True)
class Row:
    """CPU seconds for arguments of one size; stock's is what its share took where it was cut."""

    num_chars: int
    num_tokens: int
    ids_s: float
    text_s: float
    stock_s: float
    stock_share: float

    @property
    def ratio(self) -> float:
        """Return how many times faster than stock our text front is, at least."""
        return self.stock_s / self.text_s


def run(workshop: Workshop) -> list[str]:
    """Print the table; returns a line for each target that is missed. ServerError: stock ended."""
    print(HEAD)
    print(f"\n{_HEADINGS}")
    rows = []
    with StockDetector() as stock:
        for size in SIZES:
            rows.append(measure(workshop.vocabulary, stock, size))
            print(_line(rows[-1]), flush=True)
    return misses_of(rows)


def measure(vocabulary: Vocabulary, stock: "StockDetector", size: int) -> Row:
    """Return the times for arguments of `size` characters."""
    arguments = arguments_of(size)
    text = f"{_BEGIN}{arguments}{_END}"
    pieces = _pieces(text)
    ids = [[token_id] for token_id in vocabulary.encode_text(arguments)]
    seconds, num_chars = stock.time(text)
    return Row(
        num_chars=size,
        num_tokens=len(ids),
        ids_s=min(_time_ids(vocabulary, ids, arguments) for _ in range(_REPEATS)),
        text_s=min(_time_text(pieces, arguments) for _ in range(_REPEATS)),
        stock_s=seconds,
        stock_share=num_chars / len(text),
    )


def misses_of(rows: Sequence[Row]) -> list[str]:
    """Return a line for each missed target."""
    by_size = {row.num_chars: row for row in rows}
    large, small = by_size[COMPARED_SIZE], by_size[GROWTH_FROM_SIZE]
    misses = []
    if large.ratio < MIN_TIMES_FASTER:
        misses.append(f"throughput: {large.ratio:.0f}x at 256K, want {MIN_TIMES_FASTER}x")
    for name, growth in (
        ("ids", large.ids_s / small.ids_s),
        ("text", large.text_s / small.text_s),
    ):
        print(f"\n256K / 64K, {name}: {growth:.2f}", end="")
        if growth >= MAX_GROWTH:
            misses.append(f"throughput, {name}: 256K takes {growth:.2f} x 64K, want {MAX_GROWTH}")
    print()
    return misses


def arguments_of(size: int) -> str:
    """Return arguments of `size` characters, a file of this package's own source."""
    folder = Path(sglang_kimi.parsers.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")))
    source = source.replace("<|", "< |")  # no marker's spelling, which would end stock's call
    source *= size // len(source) + 1
    body = json.dumps({"path": "a.py", "text": source}, ensure_ascii=False)[: size - 2]
    body = body.rstrip("\\") + "." * (len(body) - len(body.rstrip("\\")))
    return body + '"}'


def _pieces(text: str) -> list[str]:
    return [text[start : start + PIECE_CHARS] for start in range(0, len(text), PIECE_CHARS)]


def _time_ids(vocabulary: Vocabulary, ids: Sequence[Sequence[int]], arguments: str) -> float:
    parser = OutputParser(vocabulary, tools=_TOOLS, starts_in_thinking=False)
    before, after = vocabulary.encode(_BEGIN), vocabulary.encode(_END)
    return _time(parser.feed, [before, *ids, after], arguments)


def _time_text(pieces: Sequence[str], arguments: str) -> float:
    return _time(TextFront(tools=_TOOLS, starts_in_thinking=False).feed, pieces, arguments)


def _time(feed: Callable[[Any], list[Event]], portions: Sequence[Any], arguments: str) -> float:
    start = time.process_time()
    num_events = 0
    for portion in portions:
        num_events += len(feed(portion))
    seconds = time.process_time() - start
    assert num_events > len(arguments) // 100  # it was streamed, not held
    return seconds


def _line(row: Row) -> str:
    stock = f"{row.stock_s * 1e3:,.0f}"
    ratio = f"{row.ratio:,.0f}x"
    if row.stock_share < 1:
        stock, ratio = f">{stock}", f">{ratio}"
    cut = "" if row.stock_share == 1 else f"  (stock stopped at {row.stock_share:.0%})"
    ours = f"{row.ids_s * 1e3:>10.1f}{row.text_s * 1e3:>10.1f}"
    return f"{row.num_chars:>10,}{row.num_tokens:>9,}{ours}{stock:>12}{ratio:>9}{cut}"


class StockDetector(LineProcess):
    """A context with the process that runs stock's detector; starting it takes some seconds."""

    def __init__(self) -> None:
        super().__init__([sys.executable, "-P", "-m", _STOCK_MODULE])

    def time(self, text: str) -> tuple[float, int]:
        """Return CPU seconds and how many characters were read. ServerError if it ended."""
        answer = self.ask(
            {"text": text, "tools": _TOOLS, "piece_chars": PIECE_CHARS, "limit_s": _STOCK_LIMIT_S}
        )
        return answer["seconds"], answer["num_chars"]
