"""Chat requests that must be answered by a tool call, in every way that a call is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .chat_answers import scripted
from .schema_shapes import SHAPES

CHOICES: Final = ("required", "named", "auto", "required, one call")
"""How a call is asked for. `auto`: the model is made to open a section, then it is free."""

OPENED_SECTION: Final = "So.</think><|tool_calls_section_begin|>"
"""What makes a model call: it is free behind it."""

THINKING_TOKENS: Final = 12
MAX_TOKENS: Final = 320
_NUM_TOOLS: Final = 3
_NUM_EARLIER_CALLS: Final = 3


@dataclass(frozen=True)
class ToolRequest:
    """One request. tools: parameters by name. name: the one tool that may be called, if one is."""

    choice: str
    tools: Mapping[str, Any]
    is_strict: bool
    is_streamed: bool
    num_earlier_calls: int
    seed: int
    max_tokens: int

    @property
    def mode(self) -> str:
        """Return the words by which its kind is listed."""
        strict = "strict" if self.is_strict else "not strict"
        return f"{self.choice}; {strict}; {'streamed' if self.is_streamed else 'whole'}"

    @property
    def name(self) -> str | None:
        """Return the named function."""
        return next(iter(self.tools)) if self.choice == "named" else None

    @property
    def is_single(self) -> bool:
        """Return whether calls are not to be parallel."""
        return self.choice == "required, one call"

    @property
    def first_index(self) -> int:
        """Return the index of the answer's first call."""
        return self.num_earlier_calls

    def body(self, section: Sequence[int]) -> dict[str, Any]:
        """Return the request's fields; section: the ids that open a section of calls."""
        named = {"type": "function", "function": {"name": self.name}}
        choice = {"named": named, "auto": "auto"}.get(self.choice, "required")
        forced = scripted(list(section), then_free=True) if self.choice == "auto" else {}
        return {
            "messages": _messages(next(iter(self.tools)), self.num_earlier_calls),
            "tools": [
                tool(name, schema, is_strict=self.is_strict) for name, schema in self.tools.items()
            ],
            "tool_choice": choice,
            "parallel_tool_calls": not self.is_single,
            "max_tokens": self.max_tokens,
            "max_thinking_tokens": THINKING_TOKENS,
            "seed": self.seed,
            **forced,
        }


def shape_requests() -> list[ToolRequest]:
    """Return requests with each shape in each way of asking, its neighbours as further tools.

    Strict or not, streamed or not, with a history of calls or not: these change from one to the
    next so that every two of them meet.
    """
    names = {shape: f"tool_{number}" for number, shape in enumerate(SHAPES)}
    requests: list[ToolRequest] = []
    for number in range(len(SHAPES)):
        for row, choice in enumerate(CHOICES):
            shapes = [[*SHAPES][(number + n) % len(SHAPES)] for n in range(_NUM_TOOLS)]
            requests.append(
                ToolRequest(
                    choice=choice,
                    tools={names[shape]: SHAPES[shape] for shape in shapes},
                    is_strict=(number + row) % 2 == 0,
                    is_streamed=(number // 2 + row // 2) % 2 == 0,
                    num_earlier_calls=_NUM_EARLIER_CALLS * ((number // 4 + row) % 2),
                    seed=len(requests),
                    max_tokens=MAX_TOKENS,
                )
            )
    return requests


def shape_of(tool_name: str) -> str:
    """Return the shape of a tool of `shape_requests`."""
    return [*SHAPES][int(tool_name.removeprefix("tool_"))]


def tool(name: str, parameters: Any, *, is_strict: bool) -> dict[str, Any]:
    """Return a function as a request declares it."""
    function = {"name": name, "description": "Do it.", "parameters": parameters}
    return {"type": "function", "function": {**function, "strict": is_strict}}


def _messages(tool: str, num_calls: int) -> list[dict[str, Any]]:
    """Return a conversation in which `tool` was called so often, and a user's last word."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Use a tool."}]
    for number in range(num_calls):
        call_id = f"functions.{tool}:{number}"
        function = {"name": tool, "arguments": "{}"}
        call = {"id": call_id, "type": "function", "function": function}
        messages += [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call_id, "content": "done"},
        ]
    return [*messages, {"role": "user", "content": "And again."}] if num_calls else messages
