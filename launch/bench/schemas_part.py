"""The part `schemas`: random weights must call tools rightly, whatever the schemas are.

Nothing was learnt by these weights, so whatever is right about the calls is the grammar's doing.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from sglang_kimi.codec.vocabulary import Vocabulary

from .call_table import Judged, judge, misses, table
from .chat_answers import ask
from .many_requests import run_many
from .schema_facts import facts_of
from .scripted_agent import open_client
from .tool_requests import (
    MAX_TOKENS,
    OPENED_SECTION,
    THINKING_TOKENS,
    ToolRequest,
    shape_of,
    shape_requests,
)
from .walle_requests import read_schemas, walle_requests
from .workshop import OURS, Workshop

NUM_AT_ONCE: Final = 8
_FRAME_TOKENS: Final = 20  # the call's id and the control tokens around it

LEGEND: Final = f"""\
answered: requests that got a call. complete: that ended by `tool_calls`. valid: calls whose
arguments satisfy the tool's schema (jsonschema, formats too). warned: calls that break a keyword
that no grammar holds, which the answer's `warnings` say; not a miss. Each request thinks for at
most {THINKING_TOKENS} tokens; {NUM_AT_ONCE} at once. Also counted as misses: ids that are not the
next ones, calls of other tools than the named one, a second call where one is asked for, control
tokens in a field, odd streams."""


def run(workshop: Workshop) -> list[str]:
    """Print the tables; returns a line for each shape and mode with a fault."""
    requests = shape_requests()
    print(f"{len(requests)} requests of up to {MAX_TOKENS} tokens, 3 tools each", flush=True)
    judged = _send(workshop, requests, "shapes")
    _show(table(judged, "asked for by", lambda request: request.mode))
    _show(table(judged, "shape of the first tool", _first_shape))
    missed = misses(judged, _first_shape)
    if workshop.args.walle is not None:
        missed += _run_walle(workshop, workshop.args.walle)
    else:
        print("The public verifier's schemas were not run: --walle DIR names their folder.\n")
    print(LEGEND)
    return [f"schemas: {line}" for line in missed]


def _run_walle(workshop: Workshop, folder: Path) -> list[str]:
    max_tokens = workshop.args.walle_tokens
    schemas = read_schemas(folder)
    requests = walle_requests(schemas, max_tokens)
    print(f"{len(schemas)} public schemas, max_tokens {max_tokens:,}", flush=True)
    judged = _send(workshop, requests, "public schemas")
    endless = [n for n, schema in enumerate(schemas) if facts_of(schema).shortest is None]
    if endless:
        print(f"No finite arguments satisfy the schemas {endless}: their calls are cut.\n")
    _show(table(judged, "public schemas", lambda request: request.mode))
    return misses(judged, lambda request: f"public schema {next(iter(request.tools))[5:]}")


def _send(workshop: Workshop, requests: Sequence[ToolRequest], label: str) -> list[Judged]:
    """Send all, and print how fast they were answered."""
    client = open_client(workshop.server(OURS).url)
    vocabulary = workshop.served_vocabulary
    section = vocabulary.encode(OPENED_SECTION)
    control_texts = [
        text
        for token_id in range(vocabulary.num_ranks, vocabulary.size)
        if (text := vocabulary.control_text(token_id)) is not None
    ]

    def send(request: ToolRequest) -> Judged:
        answer = ask(client, request.body(section), is_streamed=request.is_streamed)
        return judge(request, answer, control_texts, fits=_fits(request, vocabulary))

    judged, seconds = run_many(send, requests, NUM_AT_ONCE, label)
    num_tokens = sum(one.figures.num_tokens for one in judged)
    print(f"{num_tokens:,} tokens in {seconds:.0f} s: {num_tokens / seconds:.0f} tokens/s\n")
    return judged


def _fits(request: ToolRequest, vocabulary: Vocabulary) -> bool:
    """Tell whether the shortest arguments of every tool leave room in a request's max_tokens."""
    shortest = [facts_of(schema).shortest for schema in request.tools.values()]
    room = request.max_tokens - THINKING_TOKENS - _FRAME_TOKENS
    return all(text is not None and len(vocabulary.encode_text(text)) <= room for text in shortest)


def _first_shape(request: ToolRequest) -> str:
    return shape_of(next(iter(request.tools)))


def _show(lines: Iterable[str]) -> None:
    print("\n".join(lines), end="\n\n", flush=True)
