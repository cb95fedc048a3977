"""An agent loop without a server: scripted outputs, what a client gets, what it returns."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from sglang_kimi.codec.conversation import ConversationEncoder
from sglang_kimi.codec.ledger import Origin, TurnLedger
from sglang_kimi.codec.prefix_walk import EncodedConversation
from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.parsers.events import collect
from sglang_kimi.parsers.output_parser import OutputParser

Message = dict[str, Any]
Rewrite = Callable[[Message], Message]

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"x": {"type": "string"}}},
        },
    }
    for name in ("Bash", "Read")
]


def call(call_id: str, arguments: str = "{}") -> str:
    """Write a call as the model does."""
    return f"<|tool_call_begin|>{call_id}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"


def section(*parts: str) -> str:
    """Write a section of calls as the model does."""
    return f"<|tool_calls_section_begin|>{''.join(parts)}<|tool_calls_section_end|>"


END = "<|im_end|>"
OUTPUT = "secret\n</think>I list. " + section(call("functions.Bash:4", '{"x":"ls"}')) + END
"""A turn whose index is not the one that its call would get from the message."""


class AgentLoop:
    """One conversation; `messages` is the history as the client has it."""

    def __init__(
        self,
        encoder: ConversationEncoder,
        vocabulary: Vocabulary,
        *,
        origin: Origin | None = None,
        tools: list[dict[str, Any]] | None = None,
    ) -> None:
        """Start with a user's question."""
        self.encoder = encoder
        self.vocabulary = vocabulary
        self.origin = origin or Origin()
        self.tools = TOOLS if tools is None else tools
        self.messages: list[Message] = [{"role": "user", "content": "do it"}]
        self.shown: Message = {}
        self.kept: list[int] = []  # prompt and output of the last turn
        self.num_results = 0

    def prompt(self) -> EncodedConversation:
        """Encode the history."""
        return self.encoder.encode(self.messages, self.tools, self.origin)

    def generate(
        self, output: str | Sequence[int], *, is_cut: bool = False, num_unread: int = 0
    ) -> Message:
        """Let the model write, and return the message that a client gets for it.

        num_unread: how many of the last ids a client that left has not read.
        """
        ids = self.vocabulary.encode(output) if isinstance(output, str) else list(output)
        prompt = self.prompt()
        self.encoder.ledger.record(prompt.token_ids, ids, self.origin, prompt_digest=prompt.digest)
        self.kept = prompt.token_ids + ids
        parser = OutputParser(
            self.vocabulary, tools=self.tools, history_call_ids=prompt.history_call_ids
        )
        events = parser.feed(ids[: len(ids) - num_unread])
        if not num_unread:
            events += parser.finish(is_cut)
        parsed = collect(events)
        self.shown = {
            "role": "assistant",
            "content": parsed.content,
            "reasoning_content": parsed.reasoning,
            "tool_calls": [
                {
                    "id": c.id,
                    "type": "function",
                    "function": {"name": c.name, "arguments": c.arguments},
                }
                for c in parsed.tool_calls
            ],
        }
        return json.loads(json.dumps(self.shown))

    def answer(self, message: Message, *, text: str = "go on") -> None:
        """Append the message, a result for each of its calls, and a user's word if it has none."""
        self.messages = [*self.messages, message]
        for entry in message.get("tool_calls") or ():
            self.num_results += 1
            content = f"result {self.num_results}"
            self.messages.append({"role": "tool", "tool_call_id": entry["id"], "content": content})
        if not message.get("tool_calls"):
            self.messages.append({"role": "user", "content": text})

    def turn(self, output: str | Sequence[int], rewrite: Rewrite, **options: Any) -> None:
        """Generate, and let the client return what it got, rewritten."""
        self.answer(rewrite(self.generate(output, **options)))

    @property
    def is_kept(self) -> bool:
        """Tell whether the next prompt begins with the last prompt and output."""
        return self.prompt().token_ids[: len(self.kept)] == self.kept


def new_encoder(vocabulary: Vocabulary, **options: Any) -> ConversationEncoder:
    """Return an encoder with an empty ledger."""
    return ConversationEncoder(PromptCodec(vocabulary), TurnLedger(), **options)


def plain(
    vocabulary: Vocabulary, messages: list[Message], tools: list[dict[str, Any]] | None = TOOLS
) -> list[int]:
    """Return the prompt that the messages alone give."""
    return PromptCodec(vocabulary).encode(messages, tools)


# What clients make of a message without changing what it says


def _each_call(message: Message, change: Callable[[Message, int], Message]) -> Message:
    calls = [change(c, i) for i, c in enumerate(message.get("tool_calls") or ())]
    return {**message, "tool_calls": calls}


def _with_id(make: Callable[[str, int], str]) -> Rewrite:
    return lambda m: _each_call(m, lambda c, i: {**c, "id": make(c["id"], i)})


def _with_arguments(make: Callable[[str], Any]) -> Rewrite:
    def change(c: Message, _: int) -> Message:
        function = c["function"]
        return {**c, "function": {**function, "arguments": make(function["arguments"])}}

    return lambda m: _each_call(m, change)


def _json(write: Callable[[Any], Any]) -> Callable[[str], Any]:
    def make(text: str) -> Any:
        try:
            return write(json.loads(text))
        except ValueError:
            return text

    return make


def _like_javascript(value: Any) -> str:
    """Write as JSON.stringify does: whole floats without fraction, integers through floats."""

    def plain(v: Any) -> Any:
        if isinstance(v, dict):
            return {k: plain(x) for k, x in v.items()}
        if isinstance(v, list):
            return [plain(x) for x in v]
        if isinstance(v, bool) or not isinstance(v, int | float):
            return v
        as_float = float(v)
        return int(as_float) if as_float.is_integer() and abs(as_float) < 1e15 else as_float

    return json.dumps(plain(value), separators=(",", ":"), ensure_ascii=False)


def _without(*keys: str) -> Rewrite:
    return lambda m: {k: v for k, v in m.items() if k not in keys}


def _renamed_reasoning(message: Message) -> Message:
    return _without("reasoning_content")(message) | {"reasoning": message["reasoning_content"]}


def _trimmed(message: Message) -> Message:
    return {k: v.strip() if isinstance(v, str) else v for k, v in message.items()}


def _null_content(message: Message) -> Message:
    return message if message["content"].strip() else {**message, "content": None}


def _parts(message: Message) -> Message:
    half = len(message["content"]) // 2
    texts = (message["content"][:half], message["content"][half:])
    parts = [{"type": "text", "text": text, "cache_control": {}} for text in texts]
    return {**message, "content": parts}


REWRITES: dict[str, Rewrite] = {
    "verbatim": lambda m: m,
    "no reasoning": _without("reasoning_content"),
    "empty reasoning": lambda m: {**m, "reasoning_content": ""},
    "null reasoning": lambda m: {**m, "reasoning_content": None, "reasoning": None},
    "reasoning under the other name": _renamed_reasoning,
    "trimmed texts": _trimmed,
    "null content": _null_content,
    "content as parts": _parts,
    "ids like functions_Bash_0": _with_id(lambda i, _: i.replace(".", "_").replace(":", "_")),
    "ids like call_": _with_id(lambda i, n: f"call_{abs(hash((i, n)))}"),
    "ids like toolu_": _with_id(lambda i, n: f"toolu_{abs(hash((i, n)))}"),
    "arguments from JavaScript": _with_arguments(_json(_like_javascript)),
    "arguments from Python": _with_arguments(_json(json.dumps)),
    "arguments indented, keys sorted": _with_arguments(
        _json(lambda v: json.dumps(v, indent=2, sort_keys=True))
    ),
    "arguments as an object": _with_arguments(_json(lambda v: v)),
    "unknown keys and order": lambda m: {
        "provider_specific_fields": {},
        **dict(reversed(m.items())),
    },
    "a name": lambda m: {**m, "name": "kimi"},
    "no empty fields": lambda m: {k: v for k, v in m.items() if v},
}

FORGET = REWRITES["no reasoning"]
