"""The rows of the reuse table: how the model writes, and what the client makes of it.

The first ten are loops as they happen; the others have one cause each, in every turn. No client
here changes what a message says.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from . import clients, scripts
from .clients import Client
from .scripts import Script, spaced


@dataclass(frozen=True)
class Row:
    """One line of the table; `output` and `client` say in words what the other two do."""

    output: str
    client: str
    script: Script
    rewrite: Client

    @property
    def name(self) -> str:
        """Return what tells the row from the others."""
        return f"{self.output}; {self.client}"


def _model(output: str, script: Script) -> Row:
    return Row(output, "as is", script, clients.as_is)


def _client(
    client: str, rewrite: Client, output: str = "exact", script: Script | None = None
) -> Row:
    return Row(output, client, script or EXACT, rewrite)


EXACT: Final = scripts.with_arguments(spaced)
_MIXED: Final = scripts.saying(scripts.mixed)
_COMPACT: Final = scripts.with_arguments(scripts.compact)
_FLOAT: Final = scripts.with_arguments(lambda v: spaced({**v, "timeout": 30.0}))
_BLANK: Final = scripts.with_thinking(lambda s: s.thinking, "</think>\n\n")
_EDGES: Final = scripts.with_thinking(lambda s: f"\n{s.thinking}\n")
_CONTENT: Final = scripts.with_thinking(lambda s: s.thinking, "</think>Let me look at it. ")


def _number(text: str) -> Script:
    return scripts.with_arguments(lambda v: spaced(v).replace("30", text))


LOOPS: Final[Sequence[Row]] = (
    _model("exact", EXACT),
    _model("mixed", _MIXED),
    _model("1 token in 60 split", Script(EXACT.write, scripts.split_every(60))),
    _model("compact arguments", _COMPACT),
    _model("index restarts", scripts.with_call_id(lambda s: "functions.Bash:0")),
    _client("trims, null content", clients.trims, "mixed", _MIXED),
    _client("call_… ids", clients.renames_calls(lambda _, n: f"call_{n:024d}")),
    _client("reasoning instead", clients.sends_reasoning),
    _client("drops reasoning", clients.drops_reasoning),
    _client("reasoning instead", clients.sends_reasoning, "mixed", _MIXED),
)

MODEL_CAUSES: Final[Sequence[Row]] = (
    _model("content before the call", _CONTENT),
    _model("blank lines before the call", _BLANK),
    _model("newlines around thinking", _EDGES),
    _model("two calls", scripts.with_frame()),
    _model("empty thinking", scripts.with_thinking(lambda s: "")),
    _model("empty arguments", scripts.with_arguments(lambda v: "{}")),
    _model("number 30.0", _FLOAT),
    _model("second </think>", scripts.saying(lambda s: f"{s.thinking}</think>So</think> yes.")),
    _model("plain answers", scripts.saying(lambda s: f"{s.thinking}</think>It is done.")),
    _model("thinking cut by max_tokens", scripts.saying(lambda s: s.thinking, is_cut=True)),
    _model("indented arguments", scripts.with_arguments(scripts.indented)),
    _model("newline after arguments", scripts.with_arguments(lambda v: spaced(v) + "\n")),
    _model(r"\u escape", scripts.with_arguments(lambda v: json.dumps(v))),
    _model(r"\/ escape", scripts.with_arguments(lambda v: spaced(v).replace("/", r"\/"))),
    _model("number 1e3", _number("1e3")),
    _model("number 0.10", _number("0.10")),
    _model("integer above 64 bit", _number("18446744073709551617")),
    _model("duplicate key", _number('30, "timeout": 31')),
    _model("index too high", scripts.with_call_id(lambda s: f"functions.Bash:{s.num_calls + 7}")),
    _model("no functions.", scripts.with_call_id(lambda s: "Bash:0")),
    _model("newline between calls", scripts.with_frame(between="\n")),
    _model("newline after the section", scripts.with_frame(after="\n")),
    _model("text after the section", scripts.with_frame(after="\nThat is all.")),
    _model("call without </think>", scripts.with_thinking(lambda s: s.thinking, "")),
    _model("repeats <think>", scripts.with_thinking(lambda s: f"<think>{s.thinking}")),
    _model("one token split early", Script(EXACT.write, scripts.split_early)),
    _model("arguments not JSON", scripts.with_arguments(lambda v: spaced(v)[:-1] + ",")),
    _model("arguments cut by max_tokens", scripts.saying(scripts.cut_call, is_cut=True)),
)

CLIENT_CAUSES: Final[Sequence[Row]] = (
    _client("one text part", clients.in_parts(1), "content before the call", _CONTENT),
    _client("two text parts", clients.in_parts(2), "content before the call", _CONTENT),
    _client("null content", clients.nulls_content, "blank lines before the call", _BLANK),
    _client("trims content", clients.trims, "content before the call", _CONTENT),
    _client("trims reasoning", clients.trims_reasoning, "newlines around thinking", _EDGES),
    _client("toolu_… ids", clients.renames_calls(lambda _, n: f"toolu_{n:024d}")),
    _client("functions_Bash_0 ids", clients.sanitizes_ids),
    _client("JavaScript", clients.in_javascript),
    _client("JavaScript", clients.in_javascript, "number 30.0", _FLOAT),
    _client("name on the assistant", clients.names_itself),
    _client("as kimi-code", clients.like_kimi_code, "mixed", _MIXED),
)

ROWS: Final = (*LOOPS, *MODEL_CAUSES, *CLIENT_CAUSES)
