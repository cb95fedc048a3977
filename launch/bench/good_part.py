"""The part `good-output`: scripted calls as good models write them must pass with grammars on.

The script's next id is forced only where the grammar's mask allows it (`scripted_output.py`), so an
answer that is the script's to the letter was never touched.
"""

from collections.abc import Sequence
from typing import Any, Final

from sglang_kimi.codec.vocabulary import Vocabulary

from .chat_answers import ChatAnswer, ask, scripted
from .good_outputs import GoodOutput, good_outputs
from .many_requests import run_many
from .mask_walk import Walk, shown, walk
from .scripted_agent import open_client
from .tool_requests import tool
from .workshop import OURS, STOCK, Workshop

_WIDTH: Final = 46
_NUM_SHOWN: Final = 3

LEGEND: Final = """\
tokens: of the output. µs, worst: mean and longest of a token's mask and state, in this process;
refused: places where the mask does not allow the next token. On servers, streamed, tools strict and
tool_choice `auto` on both: untouched, or what was not as scripted."""


def run(workshop: Workshop) -> list[str]:
    """Print what each output became, in this process and on both servers."""
    return [*_walked(workshop.vocabulary), *_served(workshop)]


def _walked(vocabulary: Vocabulary) -> list[str]:
    from sglang_kimi.parsers.grammars.compiler import GrammarCompiler

    compiler = GrammarCompiler(vocabulary)
    print(f"in this process, {vocabulary.size:,} ids")
    print(f"{'output':<{_WIDTH}}{'tokens':>8}{'refused':>9}{'µs':>7}{'worst µs':>10}")
    missed = []
    for output in good_outputs(vocabulary, prose=True):
        ids = output.token_ids(vocabulary)
        walked = walk(compiler, output.tools, ids, output.limit(ids))
        print(_line(output.name, len(ids), walked), flush=True)
        missed += [
            f"good-output, {output.name}: refused {shown(vocabulary, ids, place)}"
            for place in walked.refused[:_NUM_SHOWN]
        ]
    return missed


def _line(name: str, num_tokens: int, walked: Walk) -> str:
    mean_us, worst_us = walked.mean_s * 1e6, max(walked.step_s) * 1e6
    refused = len(walked.refused)
    return f"{name:<{_WIDTH}}{num_tokens:>8,}{refused:>9}{mean_us:>7.0f}{worst_us:>10.0f}"


def _served(workshop: Workshop) -> list[str]:
    vocabulary = workshop.served_vocabulary
    outputs = good_outputs(vocabulary, prose=False)
    servers = workshop.servers(OURS, STOCK)
    plan = [(output, open_client(server.url)) for server in servers for output in outputs]

    def send(item: tuple[GoodOutput, Any]) -> str | None:
        return difference(item[0], _answer(vocabulary, *item))

    results, _ = run_many(send, plan, len(plan), "scripted outputs on both servers")
    ours, stock = results[: len(outputs)], results[len(outputs) :]
    print(f"{'on servers':<{_WIDTH}}{'tokens':>8}  ours")
    missed = []
    for output, of_ours, of_stock in zip(outputs, ours, stock, strict=True):
        num_tokens = len(output.token_ids(vocabulary))
        print(f"{output.name:<{_WIDTH}}{num_tokens:>8,}  {of_ours or 'untouched'}")
        print(f"{'':<{_WIDTH}}{'stock':>8}  {of_stock or 'untouched'}")
        if of_ours:
            missed.append(f"good-output, {output.name}, served: {of_ours}")
    print(f"\n{LEGEND}")
    return missed


def _answer(vocabulary: Vocabulary, output: GoodOutput, client: Any) -> ChatAnswer:
    ids = output.token_ids(vocabulary)
    body = {
        "messages": [{"role": "user", "content": f"Use a tool: {output.name}."}],
        "tools": [tool(name, schema, is_strict=True) for name, schema in output.tools.items()],
        "max_tokens": output.limit(ids),
        **scripted(ids),
    }
    return ask(client, body, is_streamed=True)


def difference(output: GoodOutput, answer: ChatAnswer) -> str | None:
    """Return the first thing that a client sees otherwise than it was scripted, None if nothing."""
    if answer.faults:
        return answer.faults[0][:200]
    pairs: list[tuple[str, str, str]] = [
        ("reasoning", output.thinking, answer.reasoning),
        ("content", output.content, answer.content),
    ]
    names = [call.name for call in answer.calls]
    texts = [call.arguments for call in answer.calls]
    for field, wanted, got in [*pairs, *_call_pairs(output, texts)]:
        if wanted != got:
            place = _first_difference(wanted, got)
            return (
                f"{field} differ at character {place:,} of {len(wanted):,}: want "
                f"{wanted[place : place + 20]!r}, got {got[place : place + 20]!r}"
            )
    if names != [name for name, _ in output.calls]:
        return f"want {len(output.calls)} calls, got {len(names)}"
    return None if answer.finish_reason == "tool_calls" else f"ended by {answer.finish_reason!r}"


def _call_pairs(output: GoodOutput, texts: Sequence[str]) -> list[tuple[str, str, str]]:
    wanted = [text for _, text in output.calls]
    return [
        (f"arguments {number}", text, texts[number] if number < len(texts) else "")
        for number, text in enumerate(wanted)
    ]


def _first_difference(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))
