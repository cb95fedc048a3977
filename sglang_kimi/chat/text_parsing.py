"""Parsing of output that arrives as text, for SGLang's native endpoints and its text detectors."""

from collections.abc import Sequence
from typing import Any

from sglang.srt.function_call.core_types import ToolCallItem

from sglang_kimi.parsers.events import collect
from sglang_kimi.parsers.text_front import TextFront
from sglang_kimi.parsers.vocabulary import SECTION_BEGIN, THINK_CLOSE, THINK_OPEN

from .metrics import answer_metrics


def separate_reasoning(text: str) -> tuple[str, str]:
    """Return the reasoning of an output and the rest of the text as it stands.

    The text is what the model wrote after the prompt, whose end opens the thinking. Calls stay in
    the rest, with their markers, so that they can be parsed from it.
    """
    starts = [at for marker in (THINK_CLOSE, SECTION_BEGIN) if (at := text.find(marker)) >= 0]
    end = min(starts, default=len(text))
    reasoning, rest = text[:end], text[end:]
    return reasoning.removeprefix(THINK_OPEN), rest.removeprefix(THINK_CLOSE)


def parse_function_calls(text: str, tools: Sequence[Any]) -> tuple[str, list[ToolCallItem]]:
    """Return content and calls of a text without reasoning.

    tools: objects with `function.name` and `function.parameters`, which both of SGLang's kinds of
    tools have. A call's `tool_index` is the tool's place among them, -1 if it is not declared, as
    SGLang's own whole-text parsers give it.
    """
    front = TextFront(tools=declared_tools(tools), starts_in_thinking=THINK_CLOSE in text)
    parsed = collect([*front.feed(text), *front.finish(truncated=False)])
    answer_metrics().count_repairs(front.counters)
    places = {tool.function.name: index for index, tool in enumerate(tools)}
    calls = [
        ToolCallItem(
            tool_index=places.get(call.name, -1), name=call.name, parameters=call.arguments
        )
        for call in parsed.tool_calls
    ]
    return parsed.content, calls


def declared_tools(tools: Sequence[Any]) -> list[dict[str, Any]]:
    """Return SGLang's tool objects as far as a parser needs them."""
    return [
        {
            "type": "function",
            "function": {"name": tool.function.name, "parameters": tool.function.parameters},
        }
        for tool in tools
    ]
