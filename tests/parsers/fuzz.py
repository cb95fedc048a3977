"""`make fuzz`: random outputs through both fronts in random portions, on all processors.

Stops at the first case that breaks a rule of `output_checks`, makes it as small as it gets and
prints it as a line for `sglang-kimi parse`.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.parsers.vocabulary import TokenVocabulary

from .fakes import VOCABULARY
from .output_checks import check_case
from .random_outputs import Case, Encoder, random_case

_BATCH = 500
_REAL = Path(__file__).resolve().parents[3] / "shared" / "kimi" / "tokenizer"

_vocabulary: TokenVocabulary = VOCABULARY


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 where all cases pass, 1 where one fails."""
    args = _arguments(argv)
    print(
        f"fuzz: seed {args.seed}, {args.num:,} outputs, vocabulary {args.tokenizer or 'of bytes'}"
    )
    start, done, compared = time.monotonic(), 0, 0
    batches = [
        (args.seed, first, min(_BATCH, args.num - first)) for first in range(0, args.num, _BATCH)
    ]
    context = multiprocessing.get_context("fork")
    with context.Pool(os.cpu_count(), _load, (args.tokenizer,)) as pool:
        for num, num_compared, failure in pool.imap_unordered(_run_batch, batches):
            if failure is not None:
                _load(args.tokenizer)
                return _report(*failure)
            done, compared = done + num, compared + num_compared
            _show_progress(done, args.num, time.monotonic() - start)
    seconds = time.monotonic() - start
    print(f"\nfuzz: {done:,} outputs passed in {seconds:.0f} s, {compared:,} of them as text too")
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--num", type=int, default=100_000, help="outputs (default 100000)")
    parser.add_argument("--seed", type=int, help="to run the same ones again (default: a new one)")
    parser.add_argument(
        "--tokenizer",
        default=str(_REAL) if _REAL.is_dir() else None,
        help="folder with tiktoken.model (default: the real one where it is there, else bytes)",
    )
    args = parser.parse_args(argv)
    if args.seed is None:
        args.seed = int.from_bytes(os.urandom(4))
    return args


def _load(tokenizer: str | None) -> None:
    global _vocabulary, _encoder
    _vocabulary = VOCABULARY if tokenizer is None else Vocabulary.load(tokenizer)
    _encoder = Encoder(_vocabulary)


_encoder = Encoder(_vocabulary)


def _run_batch(batch: tuple[int, int, int]) -> tuple[int, int, tuple[str, Case] | None]:
    seed, first, num = batch
    compared = 0
    for number in range(first, first + num):
        name = f"{seed}/{number}"
        case = random_case(Random(name), _vocabulary, _encoder)
        try:
            compared += check_case(_vocabulary, case)
        except Exception:
            return num, compared, (name, case)
    return num, compared, None


def _fails(case: Case) -> bool:
    try:
        check_case(_vocabulary, case)
    except Exception:
        return True
    return False


def _report(name: str, case: Case) -> int:
    small = smallest(case)
    try:
        check_case(_vocabulary, small)
    except Exception as error:
        print(f"\nfuzz: case {name} fails: {type(error).__name__}: {error}", file=sys.stderr)
    print(json.dumps(_parse_line(name, small), ensure_ascii=False))
    print(f"cuts of the stream: {small.cuts}", file=sys.stderr)
    return 1


def _parse_line(name: str, case: Case) -> dict[str, Any]:
    """Return a line for `sglang-kimi parse`; ids out of the vocabulary don't go into one."""
    request = dict(case.request)
    return {
        "name": name,
        "tools": request["tools"] or [],
        "tool_choice": request["tool_choice"],
        "history_calls": request["history_call_ids"],
        "starts_in_thinking": request["starts_in_thinking"],
        "truncated": case.truncated,
        "output_ids": list(case.token_ids),
    }


def smallest(case: Case) -> Case:
    """Return a case that fails too, from which no run of ids or cut can be taken away."""
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for candidate in _smaller(case):
            if _fails(candidate):
                case, is_smaller = candidate, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    ids = case.token_ids
    length = len(ids)
    while length:
        for start in range(0, len(ids), length):
            yield replace(case, token_ids=ids[:start] + ids[start + length :])
        length //= 2
    for place in range(len(case.cuts)):
        yield replace(case, cuts=case.cuts[:place] + case.cuts[place + 1 :])


def _show_progress(done: int, num: int, seconds: float) -> None:
    if not sys.stderr.isatty() and done % (20 * _BATCH) and done < num:
        return
    bar = "#" * (40 * done // num)
    left = seconds / done * (num - done)
    end = "" if sys.stderr.isatty() else "\n"
    print(f"\r[{bar:<40}] {done:,}/{num:,}, {left:.0f} s left", end=end, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
