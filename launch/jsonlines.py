"""The frame that `render` and `parse` share: JSON lines in, JSON lines out, one error per bad line.

A command gives a function from one input object to its output fields; this module reads, numbers
errors, writes and counts. Exit statuses: 0 every line went through, 1 some line has an error,
2 bad usage (`UsageError`, turned into a message by `launch.cli.main`).
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from sglang_kimi.codec.vocabulary import Vocabulary, VocabularyError

EXIT_OK = 0
EXIT_LINE_ERRORS = 1
EXIT_USAGE = 2

Convert = Callable[[dict[str, Any]], dict[str, Any]]


class UsageError(Exception):
    """The command line cannot be carried out: tell the user what to change and exit with 2."""


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--tokenizer DIR` and the optional FILE.jsonl, the same for every JSON-lines command."""
    parser.add_argument(
        "--tokenizer",
        required=True,
        metavar="DIR",
        help="folder with tiktoken.model and tokenizer_config.json (a checkpoint is one)",
    )
    parser.add_argument(
        "file",
        nargs="?",
        default="-",
        metavar="FILE.jsonl",
        help="one JSON object a line; '-' or nothing reads standard input",
    )


def load_vocabulary(directory: str) -> Vocabulary:
    """Return the vocabulary of `--tokenizer DIR`; UsageError says what is wrong with the folder."""
    try:
        return Vocabulary.load(directory)
    except VocabularyError as error:
        raise UsageError(f"--tokenizer: {error}") from error


def process_lines(file: str, convert: Convert) -> int:
    """Print `{"name", **convert(record)}` for each line of a file ('-': standard input).

    A line that is not a JSON object, or whose `convert` raises ValueError, prints
    `{"name", "error"}` instead; the name of an unreadable line is null. Blank lines are skipped.
    Returns 0, or 1 if some line has an error. Raises UsageError if the file cannot be opened or
    standard output is closed.
    """
    status = EXIT_OK
    if sys.stdout is None:
        raise UsageError("standard output is closed")
    with _open(file) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            result = _answer(number, line, convert)
            if "error" in result:
                status = EXIT_LINE_ERRORS
            _write(result)
    return status


def _open(file: str) -> BinaryIO:
    if file == "-" and sys.stdin is None:
        raise UsageError("standard input is closed; name a file")
    if file == "-":
        # A duplicate, so that leaving the `with` does not close the process's own stream.
        return open(sys.stdin.fileno(), "rb", closefd=False)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror})") from error


def _answer(number: int, line: bytes, convert: Convert) -> dict[str, Any]:
    name = None
    try:
        record = _read(number, line)
        name = record.get("name")
        return {"name": name, **convert(record)}
    except RecursionError:
        return {"name": name, "error": f"line {number}: nested too deeply to be read"}
    except ValueError as error:
        return {"name": name, "error": str(error)}


def _read(number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"line {number}: not JSON in UTF-8 ({error})") from error
    if not isinstance(record, dict):
        raise ValueError(f"line {number}: want a JSON object, got {type(record).__name__}")
    return record


def _write(result: dict[str, Any]) -> None:
    try:
        encoded = json.dumps(result, ensure_ascii=False).encode("utf-8")
    except (
        UnicodeEncodeError
    ):  # a lone surrogate in the input: only the escaped form can be written
        encoded = json.dumps(result).encode("ascii")
    sys.stdout.buffer.write(encoded + b"\n")
    sys.stdout.buffer.flush()  # a reader at the other end of a pipe sees each line at once
