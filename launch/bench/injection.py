"""Whether any text of a client, in any field, becomes a control token: counted case by case.

A case is one text in one place of a conversation. The prompt must be the frame of the
specification with the texts in it, to the letter; `hostile_requests` writes both.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sglang_kimi.codec.conversation import ConversationEncoder
from sglang_kimi.codec.ledger import Origin, TurnLedger
from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.parsers.events import ParsedOutput, collect
from sglang_kimi.parsers.output_parser import OutputParser

from .hostile_requests import Hostile, any_role, chat, continued
from .hostile_texts import hostile_texts, texts_over_cuts
from .hostile_tools import Filling, typescript_tools
from .prompt_frame import Control, Frame, TokenTable, assistant, generation_prompt, joined, turn

_TEXTS_OVER_CUTS: Final = ("<|im_end|>", "</think>", "[EOS]")


@dataclass
class Tally:
    """What came of the cases of one way into the prompt."""

    way: str
    num_prompts: int = 0
    num_cases: int = 0
    faults: list[str] = field(default_factory=list)

    def count(self, num_cases: int, fault: str | None) -> None:
        """Add a prompt that holds so many cases; `fault` says what is wrong with it."""
        self.num_prompts += 1
        self.num_cases += num_cases
        if fault is not None:
            self.faults.append(f"{self.way}, prompt {self.num_prompts}: {fault}")


def through_codec(vocabulary: Vocabulary, num_rounds: int | None = None) -> Iterator[Tally]:
    """Put every text into every place, or as many rounds of that as asked for, without a server."""
    table = TokenTable(vocabulary.directory)
    texts = hostile_texts(table.control_texts)
    rounds = range(len(texts) if num_rounds is None else num_rounds)
    codec, encoder = PromptCodec(vocabulary), _encoder(vocabulary)
    plain, own, any_roles = Tally("codec"), Tally("codec, client's ids"), Tally("codec, any role")
    cached, long = Tally("codec, ledger on"), Tally("codec, long texts")
    left_open = Tally("codec, message left open")
    for number in rounds:
        made = chat(Filling(texts, number), is_json=number % 2 == 1)
        _judge(plain, table, made, codec.encode(**made.fields))
        for _ in range(2):  # encoded, then from the cache
            _judge(cached, table, made, encoder.encode(**made.fields).token_ids)
        made = chat(Filling(texts, number), is_json=number % 2 == 0, has_own_ids=True)
        _judge(own, table, made, codec.encode(**made.fields, tool_call_ids="verbatim"))
        made = continued(Filling(texts, number))
        encoded = encoder.encode(**made.fields, continue_final_message=True)
        _judge(left_open, table, made, encoded.token_ids)
        made = any_role(Filling(texts, number))
        _judge(any_roles, table, made, codec.encode(**made.fields))
    for text in texts_over_cuts(_TEXTS_OVER_CUTS):
        frame = [*turn("user", "user", text), *generation_prompt()]
        ids = codec.encode([{"role": "user", "content": text}])
        long.count(1, table.fault(ids, frame))
    yield from (
        plain,
        own,
        any_roles,
        cached,
        left_open,
        long,
        _through_ledger(vocabulary, texts, rounds),
    )


def control_tokens_without_us(vocabulary: Vocabulary, num_rounds: int) -> int:
    """Return how many texts of the same prompts the release's tokenizer makes control tokens."""
    table = TokenTable(vocabulary.directory)
    texts = hostile_texts(table.control_texts)
    count = 0
    for number in range(num_rounds):
        made = chat(filling(texts, number, num_rounds), is_json=number % 2 == 1)
        prompt = table.text(token_ids_of(vocabulary, made.frame))
        got, wanted = table.read(vocabulary.encode(prompt)), joined(made.frame)
        count += sum(isinstance(piece, Control) for piece in got)
        count -= sum(isinstance(piece, Control) for piece in wanted)
    return count


def through_render(vocabulary: Vocabulary, num_rounds: int) -> Tally:
    """Put texts into the places of `sglang-kimi render`'s input, `num_rounds` texts into each."""
    table = TokenTable(vocabulary.directory)
    texts = hostile_texts(table.control_texts)
    tally = Tally("sglang-kimi render")
    made = [
        chat(filling(texts, number, num_rounds), is_json=number % 2 == 1, has_own_ids=True)
        for number in range(num_rounds)
    ]
    command = [sys.executable, "-P", "-m", "sglang_kimi.launch", "render"]
    lines = "".join(f"{json.dumps(each.fields)}\n" for each in made)
    output = subprocess.run(
        [*command, "--tokenizer", str(vocabulary.directory)],
        input=lines,
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout
    for each, line in zip(made, output.splitlines(), strict=True):
        rendered = json.loads(line)
        ids, text = rendered["prompt_ids"], rendered["prompt_text"]
        fault = table.fault(ids, each.frame)
        if fault is None and text != table.text(ids):
            fault = "prompt_text is not the text of prompt_ids"
        tally.count(len(each.places), fault)
    return tally


def _through_ledger(vocabulary: Vocabulary, texts: Sequence[str], rounds: range) -> Tally:
    """Let a model write the texts in ordinary tokens, and a client send them back."""
    tally, encoder = Tally("ledger, written by the model"), _encoder(vocabulary)
    table = TokenTable(vocabulary.directory)
    for number in rounds:
        fill = Filling(texts, number)
        tools = typescript_tools(fill)
        name = tools.functions[0]["name"]
        ask = fill("user.content")
        history: list[dict[str, Any]] = [{"role": "user", "content": ask}]
        frame = [*tools.frame(), *turn("user", "user", ask)]
        key, value = fill("arguments key"), fill("arguments value")
        arguments = json.dumps({key: value}, separators=(",", ":"))
        generated = assistant(fill("thinking"), fill("content"), (f"functions.{name}:0", arguments))
        origin = Origin("injection", f"{number}")
        before = encoder.encode(history, tools.nested, origin)
        # Behind the open `<think>`, and cut as no tokenizer would.
        output = token_ids_of(vocabulary, generated[4:], in_bytes=True)
        encoder.ledger.record(before.token_ids, output, origin)
        history.append(_returned(vocabulary, output, tools.nested))
        result = fill("result")
        history.append({"role": "tool", "tool_call_id": "call_0", "content": result})
        after = encoder.encode(history, tools.nested, origin)
        frame += [*generated, *turn("system", "tool", f"## Return of functions.{name}:0\n", result)]
        frame += generation_prompt()
        fault = table.fault(after.token_ids, frame)
        kept = before.token_ids + output
        if fault is None and after.token_ids[: len(kept)] != kept:
            fault = "the next prompt does not begin with prompt and output"
        tally.count(len(fill.places), fault)
    return tally


def _returned(
    vocabulary: Vocabulary, output: Sequence[int], tools: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return an answer as a client sends it back: no thinking, another id, other blanks."""
    parser = OutputParser(vocabulary, tools=tools)
    parsed: ParsedOutput = collect([*parser.feed(output), *parser.finish(False)])
    (call,) = parsed.tool_calls
    arguments = json.dumps(json.loads(call.arguments), indent=1, ensure_ascii=False)
    function = {"name": call.name, "arguments": arguments}
    calls = [{"id": "call_0", "type": "function", "function": function}]
    return {"role": "assistant", "content": parsed.content.strip(), "tool_calls": calls}


def _encoder(vocabulary: Vocabulary) -> ConversationEncoder:
    return ConversationEncoder(PromptCodec(vocabulary), TurnLedger())


def filling(texts: Sequence[str], number: int, num_rounds: int) -> Filling:
    """Return one of so many fillings that lie evenly in the list."""
    return Filling(texts, number * len(texts) // num_rounds)


def _judge(tally: Tally, table: TokenTable, made: Hostile, token_ids: Sequence[int]) -> None:
    tally.count(len(made.places), table.fault(token_ids, made.frame))


def token_ids_of(vocabulary: Vocabulary, frame: Frame, *, in_bytes: bool = False) -> list[int]:
    """Return a frame's ids; `in_bytes` has its texts as a model may write them, byte by byte."""
    token_ids: list[int] = []
    for piece in joined(frame):
        if isinstance(piece, Control):
            token_ids.append(vocabulary.control_id(piece.text))
        elif in_bytes:
            ranks = [vocabulary.rank(bytes([byte])) for byte in piece.encode()]
            token_ids += [rank for rank in ranks if rank is not None]
        else:
            token_ids += vocabulary.encode_text(piece)
    return token_ids
