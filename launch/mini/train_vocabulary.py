"""Train the mini checkpoint's vocabulary: `python -m sglang_kimi.launch.mini.train_vocabulary OUT`.

Byte-level BPE with the format's split pattern (FORMAT section 2.1): the 256 single bytes first,
then the most frequent pair of neighbours again and again, so that rank = merge priority. Ties go to
the smaller bytes, so the same corpus gives the same file.

Corpus, 80 % code and 20 % English in comments and docstrings: the top-level modules of the running
Python's standard library, in name order, and the protocol's own words below, which a Python library
seldom holds. The shipped `tiktoken.model` was made by CPython 3.11.7; another version gives a
slightly different one, which is why the result is shipped and this is not run at install.
"""

import argparse
import base64
import heapq
import sysconfig
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

from sglang_kimi.codec.vocabulary import SPLIT_PATTERN

NUM_RANKS: Final = 3840  # with the 256 control tokens that follow: a vocabulary of 4096

PROTOCOL_TEXT: Final = """\
system
user
assistant
tool
tool_declare
functions
image
video
## Return of functions.read_file:0
# Tools

## functions
namespace functions {
// Read a file of the project.
type read_file = (_: {
  // Path of the file
  path: string,
  // Default: 10
  limit?: number,
  recursive?: boolean
}) => any;
}
functions.list_files:0 functions.read_file:1 functions.search_text:2 functions.run_command:3
{"path": "README.md", "pattern": "def main", "command": "ls -la", "limit": 10, "recursive": true}
{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object",
"properties": {"city": {"type": "string", "description": "City name"}}, "required": ["city"]}}}
I will read the file first, then search the project for the function and run the tests.
"""
PROTOCOL_WEIGHT: Final = 2000  # as if the text stood this often in the corpus

Pair = tuple[int, int]


def main() -> None:
    """Train on this Python's standard library and write the rank table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="file to write, 'base64 rank' a line")
    out: Path = parser.parse_args().out
    tokens = train(count_pieces(standard_library(), PROTOCOL_TEXT), NUM_RANKS)
    out.write_bytes(rank_table(tokens))
    print(f"{out}: {len(tokens)} ranks")


def standard_library() -> Iterator[str]:
    """Yield the text of each top-level standard module but the generated configuration."""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        if not path.name.startswith("_sysconfigdata"):
            yield path.read_text(encoding="utf-8")


def count_pieces(texts: Iterable[str], protocol_text: str) -> Counter[bytes]:
    """Count the pieces between which no merge may reach."""
    import regex  # knows `&&` in a character class, which `re` does not

    split = regex.compile(f"(?V1){SPLIT_PATTERN}")
    counts: Counter[bytes] = Counter()
    for text in texts:
        counts.update(piece.encode() for piece in split.findall(text))
    for piece in split.findall(protocol_text):
        counts[piece.encode()] += PROTOCOL_WEIGHT
    return counts


def train(counts: Counter[bytes], num_ranks: int) -> list[bytes]:
    """Return the tokens by rank.

    Raises ValueError if the corpus has too few pairs for that many ranks.
    """
    tokens = [bytes([value]) for value in range(256)]
    words = [list(piece) for piece in counts]
    weights = list(counts.values())
    pair_counts: Counter[Pair] = Counter()
    words_with: defaultdict[Pair, set[int]] = defaultdict(set)
    for number, word in enumerate(words):
        for pair in pairwise(word):
            pair_counts[pair] += weights[number]
            words_with[pair].add(number)
    heap = [_entry(pair, count, tokens) for pair, count in pair_counts.items()]
    heapq.heapify(heap)
    while len(tokens) < num_ranks:
        if not heap:
            raise ValueError(f"corpus: want pairs for {num_ranks} ranks, got {len(tokens)}")
        negative_count, _, pair = heapq.heappop(heap)
        if pair_counts[pair] != -negative_count or not negative_count:
            continue  # counted again since: a newer entry stands in the heap
        merged = len(tokens)
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        touched: set[Pair] = set()
        for number in words_with.pop(pair):
            touched |= _merge(words[number], pair, merged, weights[number], pair_counts)
            for neighbours in pairwise(words[number]):
                words_with[neighbours].add(number)
        touched.discard(pair)
        del pair_counts[pair]
        for changed in touched:
            heapq.heappush(heap, _entry(changed, pair_counts[changed], tokens))
    return tokens


def rank_table(tokens: list[bytes]) -> bytes:
    """Return the file's bytes: one line `base64 rank` a token."""
    lines = (base64.b64encode(token) + f" {rank}\n".encode() for rank, token in enumerate(tokens))
    return b"".join(lines)


def _entry(pair: Pair, count: int, tokens: list[bytes]) -> tuple[int, tuple[bytes, bytes], Pair]:
    return -count, (tokens[pair[0]], tokens[pair[1]]), pair


def _merge(
    word: list[int], pair: Pair, merged: int, weight: int, pair_counts: Counter[Pair]
) -> set[Pair]:
    """Replace a pair in a word, in place; return the pairs whose counts changed."""
    before = list(pairwise(word))
    position = 0
    while position < len(word) - 1:
        if (word[position], word[position + 1]) == pair:
            word[position : position + 2] = [merged]
        position += 1
    after = list(pairwise(word))
    for old in before:
        pair_counts[old] -= weight
    for new in after:
        pair_counts[new] += weight
    return set(before) | set(after)


if __name__ == "__main__":
    main()
