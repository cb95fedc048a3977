"""A byte vocabulary, and one way to run the same output through both fronts in any portions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sglang_kimi.parsers import vocabulary as v
from sglang_kimi.parsers.declared_tools import ToolChoice
from sglang_kimi.parsers.events import Event, ParsedOutput, collect
from sglang_kimi.parsers.output_parser import OutputParser
from sglang_kimi.parsers.text_front import TextFront

NUM_RANKS = 256
CONTROL_TEXTS = (
    v.EOS,
    v.TURN_END,
    v.THINK_OPEN,
    v.THINK_CLOSE,
    v.SECTION_BEGIN,
    v.SECTION_END,
    v.CALL_BEGIN,
    v.ARGUMENT_BEGIN,
    v.CALL_END,
    "<|im_user|>",
    "<|media_pad|>",
    "<|reserved_token_7|>",
)

# Short names, so that an output can be read at a glance.
THINK, END_THINK = v.THINK_OPEN, v.THINK_CLOSE
SECTION, END_SECTION = v.SECTION_BEGIN, v.SECTION_END
CALL, ARGUMENT, END_CALL = v.CALL_BEGIN, v.ARGUMENT_BEGIN, v.CALL_END
END, EOS = v.TURN_END, v.EOS


class ByteVocabulary:
    """Ids 0..255 are the bytes, the control tokens follow."""

    num_ranks = NUM_RANKS
    ordinary_tokens = tuple(bytes([byte]) for byte in range(NUM_RANKS))
    size = NUM_RANKS + len(CONTROL_TEXTS)

    def token_bytes(self, token_id: int) -> bytes:
        """Return a byte, or a control token's text."""
        text = self.control_text(token_id)
        return bytes([token_id]) if text is None else text.encode()

    def control_text(self, token_id: int) -> str | None:
        """Return a control token's text."""
        return None if token_id < NUM_RANKS else CONTROL_TEXTS[token_id - NUM_RANKS]

    def control_id(self, text: str) -> int:
        """Return a control token's id."""
        try:
            return NUM_RANKS + CONTROL_TEXTS.index(text)
        except ValueError:
            raise KeyError(text) from None


VOCABULARY = ByteVocabulary()


def plain_ids(text: str) -> list[int]:
    """Encode text as ordinary tokens; markers in it stay text."""
    return list(text.encode())


def marked_ids(text: str) -> list[int]:
    """Encode text, each marker in it as its control token."""
    ids: list[int] = []
    while text:
        marker = next((m for m in CONTROL_TEXTS if text.startswith(m)), None)
        ids += plain_ids(text[0]) if marker is None else [VOCABULARY.control_id(marker)]
        text = text[len(marker or text[0]) :]
    return ids


def tool(name: str, *required: str, optional: Sequence[str] = ()) -> dict[str, Any]:
    """Declare a function as a chat request does."""
    properties = {key: {"type": "string"} for key in (*required, *optional)}
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def call(call_id: str, arguments: str = "{}") -> str:
    """Write a call as the model does."""
    return f"{CALL}{call_id}{ARGUMENT}{arguments}{END_CALL}"


def section(*parts: str) -> str:
    """Write a section as the model does."""
    return SECTION + "".join(parts) + END_SECTION


@dataclass(frozen=True)
class Way:
    """A front and the number of tokens or characters that it is fed at a time (0: all)."""

    front: str
    step: int

    def __str__(self) -> str:
        """Name the way in a test's id."""
        return f"{self.front}-{self.step or 'whole'}"


WAYS = [Way(front, step) for front in ("ids", "text") for step in (0, 1, 2, 7)]


@dataclass(frozen=True)
class Answer:
    """What a client gets, short to compare, and what it took."""

    output: ParsedOutput
    events: list[Event]
    counters: Counter[str]

    @property
    def fields(self) -> tuple[str, str]:
        """Return reasoning and content."""
        return self.output.reasoning, self.output.content

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Return id and arguments of each call."""
        return [(c.id, c.arguments) for c in self.output.tool_calls]

    @property
    def names(self) -> list[str]:
        """Return the calls' names."""
        return [c.name for c in self.output.tool_calls]

    @property
    def reason(self) -> str:
        """Return the finish reason."""
        return self.output.finish_reason


def parse(
    way: Way,
    output: str | list[int],
    *,
    tools: Sequence[Mapping[str, Any]] | None,
    tool_choice: ToolChoice = "auto",
    history: Sequence[str] | int = (),
    truncated: bool = False,
    starts_in_thinking: bool = True,
) -> Answer:
    """Run one output (ids, or text with its markers spelt out) through a front."""
    request: dict[str, Any] = {
        "tools": tools,
        "tool_choice": tool_choice,
        "history_call_ids": history,
        "starts_in_thinking": starts_in_thinking,
    }
    events: list[Event] = []
    if way.front == "text":
        assert isinstance(output, str)
        front = TextFront(**request)
        for text in portions(output, way.step):
            events += front.feed(text)
        events += front.finish(truncated)
        return Answer(collect(events), events, front.counters)
    ids = marked_ids(output) if isinstance(output, str) else output
    parser = OutputParser(VOCABULARY, **request)
    for some in portions(ids, way.step):
        events += parser.feed(some)
    events += parser.finish(truncated)
    return Answer(collect(events), events, parser.counters)


def portions(whole: Any, step: int) -> Iterator[Any]:
    """Cut a sequence into pieces of `step` (0: one piece)."""
    step = step or max(len(whole), 1)
    for start in range(0, len(whole), step):
        yield whole[start : start + step]
