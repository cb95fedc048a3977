"""What good models write and no grammar may touch: long, indented, escaped, in any order."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sglang_kimi.codec.vocabulary import Vocabulary

from .scripts import call, compact, indented, section, spaced

_SPARE_TOKENS: Final = 1024
_LONG_CHARS: Final = 200_000
_NUM_LINES: Final = 500
_NUM_ITEMS: Final = 300
_NUM_THINKING_TOKENS: Final = 5000
_THINKING_LIMIT: Final = 8192

ESCAPES: Final = (
    r"\" \\ \/ \b \f \n \r \t \u00e9 \u00E9 \u0000 \u001f \u007f \u2028 \ud83d\ude00 \uDBFF\uDFFF"
)
"""Every escape of JSON, as it stands in a text."""

UNICODE: Final = (
    "é e\u0301 ß 漢字 한 עב \u200d\u202e \u2028 \x7f \ue000 \ufffd \ufeff 😀 👩\u200d🚀 \U0010ffff"
)
"""Characters of one to four bytes, joined, reversed, private, the last there is."""


@dataclass(frozen=True)
class GoodOutput:
    """An answer as it is generated, and the tools that the request declares.

    calls: tool and arguments, as written. max_tokens: None leaves room for more.
    """

    name: str
    tools: Mapping[str, Any]
    calls: Sequence[tuple[str, str]]
    thinking: str = "Let me do it."
    content: str = ""
    max_tokens: int | None = None

    def token_ids(self, vocabulary: Vocabulary) -> list[int]:
        """Return what the model generates, the end of turn included."""
        calls = [call(f"functions.{tool}:{n}", text) for n, (tool, text) in enumerate(self.calls)]
        return vocabulary.encode(
            f"{self.thinking}</think>{self.content}{section(*calls)}<|im_end|>"
        )

    def limit(self, token_ids: Sequence[int]) -> int:
        """Return the request's max_tokens; token_ids: the output's."""
        return self.max_tokens or len(token_ids) + _SPARE_TOKENS


def good_outputs(vocabulary: Vocabulary, *, prose: bool) -> list[GoodOutput]:
    """Return the outputs.

    prose: write the longest string as a text, many tokens long; else of lines of one character,
    which have few tokens, so that a server on a CPU gets through them.
    """
    return [*_long(vocabulary, prose), *_spellings(), *_orders()]


def _long(vocabulary: Vocabulary, prose: bool) -> list[GoodOutput]:
    line = "The parser reads what is left of the file, then it looks at the next one.\n"
    text = (line if prose else "-" * 320 + "\n") * _LONG_CHARS
    write = {"write": _object(path=_TEXT, text=_TEXT)}
    lines = {f"key {n}": n for n in range(_NUM_LINES - 4)}
    items = [{"line": n, "text": f"No {n}."} for n in range(_NUM_ITEMS)]
    item = _object(line={"type": "integer"}, text=_TEXT)
    return [
        GoodOutput(
            f"a string of {_LONG_CHARS:,} characters",
            write,
            [("write", spaced({"path": "a.md", "text": text[:_LONG_CHARS]}))],
        ),
        GoodOutput(
            f"JSON of {_NUM_LINES} lines, indented by four",
            {"store": _object(values={"type": "object"})},
            [("store", json.dumps({"values": lines}, indent=4))],
        ),
        GoodOutput(
            f"{_NUM_ITEMS} array items",
            {"edit": _object(edits={"type": "array", "items": item})},
            [("edit", compact({"edits": items}))],
        ),
        GoodOutput(
            f"{_NUM_THINKING_TOKENS:,} thinking tokens at max_tokens {_THINKING_LIMIT:,}",
            write,
            [("write", spaced({"path": "a.md", "text": "It is done."}))],
            thinking=_thinking(vocabulary),
            max_tokens=_THINKING_LIMIT,
        ),
    ]


def _spellings() -> list[GoodOutput]:
    escaped = f'{{"text": "{ESCAPES}"}}'
    unicode = spaced({"text": UNICODE})
    num_escaped, num_plain = len(json.loads(escaped)["text"]), len(UNICODE)
    both = [("say", escaped), ("say", unicode), ("say", json.dumps({"text": UNICODE}))]

    def held(**keywords: Any) -> dict[str, Any]:
        return {"say": _object(text={"type": "string", **keywords})}

    longest, shortest = max(num_escaped, num_plain), min(num_escaped, num_plain)
    numbers = '{"whole": [0, -0, 18446744073709551617, 1.0, 1e3], "real": [-0.10, 1E-7, 2.5e+10]}'
    kinds = {
        "whole": {"type": "array", "items": {"type": "integer"}},
        "real": {"type": "array", "items": {"type": "number"}},
    }
    return [
        GoodOutput("every escape, every kind of character", held(), both),
        GoodOutput(
            "the same at the limits of a length",
            held(minLength=shortest, maxLength=longest),
            both,
        ),
        GoodOutput("the same under a pattern", held(pattern=r"[^a-z]$|\s"), both),
        GoodOutput(
            "the same under pattern and length",
            held(pattern=r"\s", minLength=1, maxLength=longest),
            both,
        ),
        GoodOutput(
            "escapes in keys, enum and const",
            {"set": _object(mode={"enum": ["read", "wr/te"]}, kind={"const": "é\n"})},
            [
                ("set", r'{"m\u006fde": "re\u0061d", "kind": "\u00e9\n"}'),
                ("set", '{"kind": "é\\n", "mode": "wr\\/te"}'),
                ("set", r'{"mode": "wr/te", "\u006B\u0069nd": "\u00E9\u000a"}'),
            ],
        ),
        GoodOutput("numbers", {"count": _object(**kinds)}, [("count", numbers)]),
    ]


def _orders() -> list[GoodOutput]:
    values = {"path": "a.py", "line": 3, "text": "x", "force": True}
    properties = {
        "path": _TEXT,
        "line": {"type": "integer"},
        "text": _TEXT,
        "force": {"type": "boolean"},
    }
    orders = [dict(order) for order in itertools.permutations(values.items())]
    tools = {"edit": _object(**properties)}
    more = {**values, "limit": 4, "notes": [{"a": None}]}
    is_open = {**tools["edit"], "additionalProperties": True}
    return [
        GoodOutput("keys in every order, compact", tools, [("edit", compact(o)) for o in orders]),
        GoodOutput("keys in every order, indented", tools, [("edit", indented(o)) for o in orders]),
        GoodOutput(
            "tabs, CRLF, blanks before colons",
            tools,
            [
                ("edit", json.dumps(values, indent="\t")),
                ("edit", json.dumps(values, indent=8).replace("\n", "\r\n")),
                ("edit", json.dumps(values, separators=(" , ", " : "))),
            ],
        ),
        GoodOutput(
            "undeclared keys anywhere in an open object",
            {"edit": is_open},
            [("edit", spaced(dict(reversed(more.items())))), ("edit", indented(more))],
        ),
        GoodOutput(
            "only the required keys",
            {"edit": {**tools["edit"], "required": ["text"]}},
            [("edit", compact({"text": "x"})), ("edit", spaced({"force": False, "text": ""}))],
        ),
        GoodOutput(
            "content before two tools' calls",
            {**tools, "list": {"type": "object", "properties": {}}},
            [("list", "{}"), ("edit", spaced(values)), ("list", "{}")],
            content="I look at the folder first.\n\n* then\n* the file\n",
        ),
    ]


_TEXT: Final = {"type": "string"}


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def _thinking(vocabulary: Vocabulary) -> str:
    words = "I read the file and think about what it does. "
    ids = vocabulary.encode_text(words * _NUM_THINKING_TOKENS)
    text = vocabulary.decode(ids[:_NUM_THINKING_TOKENS])
    assert len(vocabulary.encode_text(text)) >= _NUM_THINKING_TOKENS
    return text
