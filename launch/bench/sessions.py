"""A coding agent's session, grown turn by turn: what the benchmarks encode.

Every turn is a user's or a tool's text, then an answer with thinking and a call. The answers' ids
are what a model would have generated; texts are pieces of the standard library's source.
"""

import json
import random
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from sglang_kimi.codec.vocabulary import Vocabulary

_SOURCES: Final = ("argparse", "asyncio.base_events", "decimal", "inspect", "typing", "zipfile")
"""Modules of the standard library whose source the agent reads: real code, the same everywhere."""

_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "read_file",
        "description": "Read a file of the project.",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "limit": {"type": "integer"}},
            "required": ["path"],
        },
    },
}


def many_tools(num_tools: int) -> list[dict[str, Any]]:
    """Return so many different tools, each with a description and arguments as agents have them."""
    words = "absolute path of the file, resolved against the workspace; must exist and be readable"
    properties = {
        name: {"type": "string", "description": f"The {name}: {words}."}
        for name in ("path", "pattern", "replacement", "branch", "format", "filter")
    }
    parameters = {"type": "object", "properties": properties, "required": ["path"]}
    return [
        {
            "type": "function",
            "function": {
                "name": f"tool_{number}",
                "description": f"Tool {number} of the workspace. Takes the {words}. " * 4,
                "parameters": parameters,
            },
        }
        for number in range(num_tools)
    ]


@dataclass
class Session:
    """A conversation as a client holds it, with the ids of the answers that it was given.

    vocabulary: whose ids count. seed: what the texts follow from.
    """

    vocabulary: Vocabulary
    seed: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=lambda: [dict(_TOOL)])
    num_calls: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        specs = [find_spec(name) for name in _SOURCES]
        paths = [Path(spec.origin) for spec in specs if spec and spec.origin]
        self._source = "".join(path.read_text(encoding="utf-8") for path in paths)
        self.messages.append({"role": "system", "content": "You are a coding agent."})
        self.messages.append({"role": "user", "content": self.text(300)})

    def text(self, num_chars: int) -> str:
        """Return so many characters of code from a random place."""
        start = self._random.randrange(len(self._source) - num_chars)
        return self._source[start : start + num_chars]

    def answer(self) -> list[int]:
        """Return the ids that the model generates next: thinking, a sentence, a call."""
        self._turn = {
            "reasoning": self.text(400),
            "content": self.text(100),
            # Compact, as models often write them and templates do not.
            "arguments": json.dumps({"path": self.text(20), "limit": 9}, separators=(",", ":")),
        }
        control, encode = self.vocabulary.control_id, self.vocabulary.encode_text
        return [
            *encode(self._turn["reasoning"]),
            control("</think>"),
            *encode(self._turn["content"]),
            control("<|tool_calls_section_begin|>"),
            control("<|tool_call_begin|>"),
            *encode(f"functions.read_file:{self.num_calls}"),
            control("<|tool_call_argument_begin|>"),
            *encode(self._turn["arguments"]),
            control("<|tool_call_end|>"),
            control("<|tool_calls_section_end|>"),
            control("<|im_end|>"),
        ]

    def go_on(self, num_chars: int) -> None:
        """Add the last answer as the client sends it back, and a tool's result of that length."""
        call_id = f"functions.read_file:{self.num_calls}"
        function = {"name": "read_file", "arguments": self._turn["arguments"]}
        self.messages.append(
            {
                "role": "assistant",
                "content": self._turn["content"],
                "reasoning_content": self._turn["reasoning"],
                "tool_calls": [{"id": call_id, "type": "function", "function": function}],
            }
        )
        result = {"role": "tool", "tool_call_id": call_id, "content": self.text(num_chars)}
        self.messages.append(result)
        self.num_calls += 1
