"""Parser events as the chunks of a streamed chat completion.

SGLang's own chunk builder knows neither `reasoning` nor the order of several calls, so these lines
are written here; the role, finish and usage chunks around them stay SGLang's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from sglang_kimi.parsers.events import ArgumentText, CallStart, Content, Event, Reasoning


@dataclass(frozen=True)
class ChunkFrame:
    """What all chunks of one step have in common; `usage` only with continuous usage."""

    id: str
    created: int
    model: str
    index: int
    usage: dict[str, Any] | None = None

    def line(
        self,
        delta: dict[str, Any],
        logprobs: dict[str, Any] | None = None,
        warnings: Sequence[str] = (),
    ) -> str:
        """Return one server-sent event with `delta`, and warnings beside the choices."""
        chunk: dict[str, Any] = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [
                {
                    "index": self.index,
                    "delta": delta,
                    "logprobs": logprobs,
                    "finish_reason": None,
                    "matched_stop": None,
                }
            ],
        }
        if self.usage is not None:
            chunk["usage"] = self.usage
        if warnings:
            chunk["warnings"] = warnings
        return f"data: {orjson.dumps(chunk).decode()}\n\n"


def chunk_lines(
    frame: ChunkFrame, events: Iterable[Event], logprobs: dict[str, Any] | None
) -> list[str]:
    """Return the lines for `events`; the step's logprobs ride on the first of them."""
    deltas = [delta for delta in map(_delta, events) if delta is not None]
    if not deltas and logprobs is not None:
        deltas = [_with_reasoning(None)]
    return [
        frame.line(delta, logprobs if position == 0 else None)
        for position, delta in enumerate(deltas)
    ]


def _delta(event: Event) -> dict[str, Any] | None:
    match event:
        case Reasoning(text):
            return _with_reasoning(text)
        case Content(text):
            return {"content": text, **_with_reasoning(None)}
        case CallStart(index, call_id, name):
            function = {"name": name, "arguments": ""}
            call = {"index": index, "id": call_id, "type": "function", "function": function}
            return {"tool_calls": [call], **_with_reasoning(None)}
        case ArgumentText(index, text):
            call = {"index": index, "function": {"arguments": text}}
            return {"tool_calls": [call], **_with_reasoning(None)}
        case _:
            return None


def _with_reasoning(text: str | None) -> dict[str, Any]:
    """Return both keys under which clients read the reasoning, null where there is none."""
    return {"reasoning_content": text, "reasoning": text}
