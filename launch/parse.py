"""`sglang-kimi parse`: run recorded model output through the parsers that the server uses.

One JSON object a line: `name`, `tools`, and `output_ids` or `output_text`; optionally `truncated`,
`tool_choice`, `history_calls` (the calls before this turn: their number, ids or the calls) and
`starts_in_thinking` (false: the prompt's thinking is closed). Ids go through the ids front, text
through the text front. `--step N` streams N tokens at a time.
"""

import argparse
import codecs
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.parsers.events import Event, ParsedOutput, collect
from sglang_kimi.parsers.output_parser import OutputParser
from sglang_kimi.parsers.text_front import TextFront

from .jsonlines import add_input_arguments, load_vocabulary, process_lines

_DESCRIPTION = """\
Read JSON lines of model output, print what a client gets, one line each. Fields of a line:
output_ids or output_text, what the model wrote behind the prompt's <think>; tools, as in a request;
optionally name, truncated (cut by max_tokens), tool_choice, history_calls (those before this turn:
their number, ids or the calls), starts_in_thinking (false: the prompt's thinking is closed)."""
_TOOL_CHOICES = ("auto", "none", "required")


def add_parser(subparsers: Any) -> None:
    """Add the sub-command to the `sglang-kimi` command line."""
    parser = subparsers.add_parser(
        "parse",
        help="model output to reasoning, content and tool calls",
        description=_DESCRIPTION,
    )
    add_input_arguments(parser)
    parser.add_argument(
        "--step",
        type=_positive,
        metavar="N",
        help="stream N tokens at a time (the result is the same; default: all at once)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry the command out; returns the exit status 0 or 1, UsageError for a bad command line."""
    vocabulary = load_vocabulary(args.tokenizer)
    return process_lines(args.file, partial(parse_record, vocabulary, step=args.step))


def parse_record(
    vocabulary: Vocabulary, record: Mapping[str, Any], *, step: int | None = None
) -> dict[str, Any]:
    """Return the output fields of one input line; ValueError names the field that is wrong."""
    return _fields(collect(_events(vocabulary, record, step)))


def _events(vocabulary: Vocabulary, record: Mapping[str, Any], step: int | None) -> Iterator[Event]:
    request = _request(record)
    truncated = _optional(record, "truncated", bool, "true or false") or False
    has_ids = record.get("output_ids") is not None
    if has_ids == (record.get("output_text") is not None):
        raise ValueError("output_ids, output_text: want exactly one of the two fields")
    if has_ids:
        parser = OutputParser(vocabulary, **request)
        for ids in _groups(_token_ids(record["output_ids"], vocabulary.size), step):
            yield from parser.feed(ids)
        yield from parser.finish(truncated)
    else:
        front = TextFront(**request)
        for text in _chunks(vocabulary, _text(record["output_text"]), step):
            yield from front.feed(text)
        yield from front.finish(truncated)


def _request(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what both fronts take from the request."""
    tools = _optional(record, "tools", list, "a list of tools") or []
    for number, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise ValueError(f"tools[{number}]: want an object, got {tool!r}")
    wanted = '"auto", "none", "required" or an object that names a tool'
    choice = _optional(record, "tool_choice", (str, dict), wanted)
    if isinstance(choice, str) and choice not in _TOOL_CHOICES:
        raise ValueError(f"tool_choice: want {wanted}, got {choice!r}")
    thinking = _optional(record, "starts_in_thinking", bool, "true or false")
    return {
        "tools": tools,
        "tool_choice": choice,
        "history_call_ids": _history(record),
        "starts_in_thinking": thinking is not False,
    }


def _history(record: Mapping[str, Any]) -> list[str] | int:
    value = record.get("history_calls")
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    calls = value if isinstance(value, list) else [None]
    # A call without an id counts all the same: the next one's index comes after it.
    found = [(call.get("id") or "") if isinstance(call, dict) else call for call in calls]
    ids = [call_id for call_id in found if isinstance(call_id, str)]
    if len(ids) < len(found):
        raise ValueError(
            f"history_calls: want a number of calls, or a list of calls or their ids, got {value!r}"
        )
    return ids


def _optional(record: Mapping[str, Any], field: str, kind: Any, wanted: str) -> Any:
    value = record.get(field)
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"{field}: want {wanted}, got {value!r}")
    return value


def _token_ids(value: Any, size: int) -> list[int]:
    if not isinstance(value, list):
        raise ValueError(f"output_ids: want a list of token ids, got {type(value).__name__}")
    for position, token_id in enumerate(value):
        if type(token_id) is not int or not 0 <= token_id < size:
            raise ValueError(
                f"output_ids[{position}]: want a token id 0..{size - 1}, got {token_id!r}"
            )
    return value


def _text(value: Any) -> str:
    """Return the text; half surrogate pairs, which no model can write, become U+FFFD."""
    if not isinstance(value, str):
        raise ValueError(f"output_text: want a text, got {type(value).__name__}")
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _groups(token_ids: Sequence[int], step: int | None) -> Iterator[Sequence[int]]:
    size = step or max(len(token_ids), 1)
    for start in range(0, len(token_ids), size):
        yield token_ids[start : start + size]


def _chunks(vocabulary: Vocabulary, text: str, step: int | None) -> Iterator[str]:
    """Cut a text where a detokeniser that sees `step` tokens at a time would."""
    if step is None:
        yield text
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    for ids in _groups(vocabulary.encode_text(text), step):
        yield decoder.decode(vocabulary.decode_bytes(ids))


def _fields(output: ParsedOutput) -> dict[str, Any]:
    return {
        "reasoning": output.reasoning,
        "content": output.content,
        "tool_calls": [
            {"id": call.id, "name": call.name, "arguments": call.arguments}
            for call in output.tool_calls
        ],
        "finish_reason": output.finish_reason,
    }


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"want a number of tokens from 1 up, got {text!r}")
    return number
