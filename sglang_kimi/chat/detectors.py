"""Our entries in SGLang's tables of text parsers.

With our adapter no text is parsed: the reasoning detector tells SGLang which token ends the
thinking, the tool-call detector which grammar a tool choice needs. Where an operator mixes our
parsers with others, SGLang parses text with them, by the same state machine as the ids.
"""

from collections.abc import Iterable
from typing import Any

from sglang.srt.function_call.core_types import StreamingParseResult, ToolCallItem
from sglang.srt.function_call.kimik2_detector import KimiK2Detector
from sglang.srt.parser.reasoning_parser import KimiK2Detector as KimiK2ReasoningDetector
from sglang.srt.runtime_context import get_exec

from sglang_kimi.parsers.events import ArgumentText, CallStart, Content, Event
from sglang_kimi.parsers.text_front import TextFront
from sglang_kimi.parsers.vocabulary import SECTION_BEGIN

from .grammar_key import ToolCallTag
from .names import GRAMMAR_BACKEND
from .text_parsing import declared_tools, parse_function_calls


class KimiReasoningDetector(KimiK2ReasoningDetector):  # type: ignore[misc]
    """SGLang's text detector for this format under our name, so that the name stays ours to fill.

    On text it is right but for literal markers in the thinking, which only ids can tell apart.
    """


class KimiToolCallDetector(KimiK2Detector):  # type: ignore[misc]
    """Tool calls in text without reasoning, and the grammar that holds calls to their schema."""

    def __init__(self) -> None:
        super().__init__()
        self._front: TextFront | None = None

    def has_tool_call(self, text: str) -> bool:
        """Say whether a text holds a tool section."""
        return SECTION_BEGIN in text

    def detect_and_parse(self, text: str, tools: list[Any]) -> StreamingParseResult:
        """Return content and calls of a whole text."""
        content, calls = parse_function_calls(text, tools)
        return StreamingParseResult(normal_text=content, calls=calls)

    def parse_streaming_increment(self, new_text: str, tools: list[Any]) -> StreamingParseResult:
        """Return content and call pieces that the next piece of text settles."""
        if self._front is None:
            self._front = TextFront(tools=declared_tools(tools), starts_in_thinking=False)
        return _pieces(self._front.feed(new_text))

    def finish(self, tools: list[Any]) -> StreamingParseResult:
        """Return what was held back when the stream is over."""
        front, self._front = self._front, None
        return _pieces(front.finish(truncated=False) if front is not None else ())

    def get_structural_tag(
        self,
        tools: list[Any] | None = None,
        tool_choice: Any = "auto",
        thinking_mode: bool = False,
        parallel_tool_calls: bool = True,
    ) -> Any:
        """Return the constraint for a tool choice, in the form of the grammar backend in use."""
        if get_exec().kernel.grammar_backend != GRAMMAR_BACKEND:
            return super().get_structural_tag(
                tools=tools,
                tool_choice=tool_choice,
                thinking_mode=thinking_mode,
                parallel_tool_calls=parallel_tool_calls,
            )
        named = None if isinstance(tool_choice, str) else tool_choice.function.name
        return ToolCallTag(
            tools=tuple(
                {"name": tool.function.name, "parameters": tool.function.parameters}
                for tool in tools or ()
            ),
            is_forced=tool_choice != "auto",
            name=named,
            is_parallel=parallel_tool_calls,
        )

    def get_auto_tool_call_structural_tag(
        self,
        tools: list[Any] | None = None,
        thinking_mode: bool = False,
        parallel_tool_calls: bool = True,
    ) -> Any:
        """Return the constraint for `auto` without strict tools: ours holds all calls alike."""
        if get_exec().kernel.grammar_backend != GRAMMAR_BACKEND:
            return super().get_auto_tool_call_structural_tag(
                tools=tools, thinking_mode=thinking_mode, parallel_tool_calls=parallel_tool_calls
            )
        return self.get_structural_tag(tools=tools, parallel_tool_calls=parallel_tool_calls)


def _pieces(events: Iterable[Event]) -> StreamingParseResult:
    result = StreamingParseResult(normal_text="", calls=[])
    for event in events:
        match event:
            case Content(text):
                result.normal_text += text
            case CallStart(index, _, name):
                result.calls.append(ToolCallItem(tool_index=index, name=name, parameters=""))
            case ArgumentText(index, text):
                result.calls.append(ToolCallItem(tool_index=index, name=None, parameters=text))
            case _:
                pass
    return result
