"""Our chat encoding in SGLang: messages in, prompt ids out; output ids in, fields out.

SGLang builds one adapter for each of its chat, responses and tokenize handlers; `/v1/messages`
goes through the chat handler. All of them share the process's one history (`history.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sglang.srt.entrypoints.openai.chat_encoding_adapters import select_new_output_ids
from sglang.srt.entrypoints.openai.protocol import FunctionResponse, ToolCall
from sglang.srt.function_call.core_types import ToolCallItem
from sglang.srt.runtime_context import get_serving

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.parsers.events import (
    ArgumentText,
    CallStart,
    Content,
    Event,
    ParsedOutput,
    Reasoning,
    collect,
)

from . import (
    answer_warnings,
    refusals,
    request_fields,
    request_messages,
    response_hooks,
    serving,
    text_parsing,
)
from .answer import Answer, AnswerOptions
from .answer_warnings import Call, warnings_of
from .history import history_of
from .names import PARSER, vocabulary_of
from .sse import ChunkFrame, chunk_lines


class ChatHooks(Protocol):
    """The one of SGLang's handler policies that output parsing asks for."""

    def tool_call_parsing_active(self, request: Any) -> bool:
        """Say whether the request's output may hold calls."""


class KimiChatAdapter:
    """Implements SGLang's `ChatEncodingAdapter`, `ChatEncodingOutputAdapter`, `NativeTextParser`.

    vocabulary: the served checkpoint's. owns_output: False where the operator chose other parsers
    than ours; SGLang then parses the decoded text with those.
    """

    collects_openai_media = True
    strict_tool_call_arguments = False  # past calls whose arguments are no JSON are rendered as is

    def __init__(self, vocabulary: Vocabulary, hooks: ChatHooks, *, owns_output: bool) -> None:
        self._vocabulary = vocabulary
        self._history = history_of(vocabulary)
        self._hooks = hooks
        self._owns_output = owns_output

    @property
    def output(self) -> "KimiChatAdapter | None":
        """Return the parser of output ids, None where text parsers are in use."""
        return self if self._owns_output else None

    def encode_messages(
        self,
        *,
        messages: list[dict[str, Any]],
        request: Any,
        tools: list[dict[str, Any]] | None,
        thinking: bool,
        image_data: list[Any],
    ) -> list[int]:
        """Return the prompt of `request`; PromptError, which is a 400, where it has none.

        `messages` and `tools` are SGLang's copies, with arguments already parsed and tools left
        out for some tool choices. The request itself is read instead: the arguments stay the
        client's bytes, and the head of the prompt, which the prefix cache needs unchanged, does
        not depend on `tool_choice`. `thinking` is ignored: the model has no other mode.
        """
        del messages, tools, thinking, image_data
        if wrong := refusals.media_in_messages(request.messages):
            raise ValueError(wrong)
        conversation = request_messages.conversation_of(request)
        encoded = self._history.encode(
            conversation,
            request_fields.tools_of(request),
            continue_final_message=request_fields.continues_final_message(request),
        )
        request_fields.remember_history(request, encoded.history_call_ids)
        return encoded.token_ids

    def parse_chat_response(
        self, *, request: Any, output_ids: list[int], finish_reason: dict[str, Any]
    ) -> tuple[str | None, str, list[ToolCall] | None, dict[str, Any]]:
        """Return reasoning, content, calls and finish reason of a whole chat answer."""
        parsed = collect(self._chat_answer(request).finish(output_ids, finish_reason))
        if parsed.tool_calls and finish_reason["type"] == "stop":
            finish_reason = {**finish_reason, "type": "tool_calls", "matched": None}
        return parsed.reasoning or None, parsed.content, _chat_calls(parsed), finish_reason

    def stream_chat_chunks(
        self,
        *,
        content: dict[str, Any],
        index: int,
        request: Any,
        created: int,
        parser_dict: dict[int, Any],
        has_tool_calls: dict[int, bool],
        choice_logprobs: dict[str, Any] | None,
        finish_reason_type: str | None,
        usage: dict[str, Any] | None,
    ) -> list[str]:
        """Return the server-sent events of one step of choice `index`."""
        if index not in parser_dict:
            parser_dict[index] = _ChatStream(self._chat_answer(request))
        stream: _ChatStream = parser_dict[index]
        events = _step(stream.answer, content, content["meta_info"].get("finish_reason"))
        stream.written += [event for event in events if not isinstance(event, Reasoning)]
        if any(isinstance(event, CallStart) for event in events):
            has_tool_calls[index] = True
        frame = ChunkFrame(content["meta_info"]["id"], created, request.model, index, usage)
        lines = chunk_lines(frame, events, choice_logprobs)
        if finish_reason_type is not None:
            parsed = collect(stream.written)
            calls = [Call(call.name, call.arguments) for call in parsed.tool_calls]
            if warnings := warnings_of(request, calls, parsed.content):
                answer_warnings.note(warnings)
                lines.append(frame.line({}, warnings=warnings))
        return lines

    def parse_responses_output(
        self,
        *,
        request: Any,
        require_reasoning: bool,
        output_ids: list[int],
        finish_reason: dict[str, Any] | None,
        separate_reasoning: bool,
        parse_tool_calls: bool,
    ) -> tuple[str, str, list[ToolCallItem]]:
        """Return reasoning, content and calls of a whole answer of `/v1/responses`."""
        answer = self._responses_answer(request, separate_reasoning, parse_tool_calls)
        return _responses_fields(answer.finish(output_ids, finish_reason))

    def new_responses_stream(
        self,
        *,
        request: Any,
        require_reasoning: bool,
        separate_reasoning: bool,
        parse_tool_calls: bool,
    ) -> "ResponsesStream":
        """Return the state of one streamed answer of `/v1/responses`."""
        return ResponsesStream(
            self._responses_answer(request, separate_reasoning, parse_tool_calls)
        )

    def separate_reasoning_text(self, text: str) -> tuple[str, str]:
        """Return reasoning and the rest of a text, for `/separate_reasoning`."""
        return text_parsing.separate_reasoning(text)

    def parse_function_call_text(
        self, text: str, tools: list[Any]
    ) -> tuple[str, list[ToolCallItem]]:
        """Return content and calls of a text, for `/parse_function_call`."""
        return text_parsing.parse_function_calls(text, tools)

    def _chat_answer(self, request: Any) -> Answer:
        options = AnswerOptions(
            tools=request_fields.tools_of(request),
            tool_choice=_tool_choice(self._hooks.tool_call_parsing_active(request)),
            history_call_ids=request_fields.history_call_ids(request),
            starts_in_thinking=not request_fields.continues_final_message(request),
            stops=request_fields.stop_strings(request),
            separate_reasoning=request.separate_reasoning,
            stream_reasoning=request.stream_reasoning,
        )
        return Answer(self._vocabulary, options)

    def _responses_answer(
        self, request: Any, separate_reasoning: bool, parse_tool_calls: bool
    ) -> Answer:
        options = AnswerOptions(
            tools=request_fields.tools_of(request),
            tool_choice=_tool_choice(parse_tool_calls),
            history_call_ids=request_fields.history_call_ids(request),
            stops=request_fields.stop_strings(request),
            separate_reasoning=separate_reasoning,
        )
        return Answer(self._vocabulary, options)


@dataclass
class _ChatStream:
    """One streamed chat answer, and what it wrote but for its thinking."""

    answer: Answer
    written: list[Event] = field(default_factory=list)


class ResponsesStream:
    """Implements SGLang's `ResponsesOutputStream`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def step(
        self, chunk: dict[str, Any], finish_reason: dict[str, Any] | None
    ) -> tuple[str, str, list[ToolCallItem]]:
        """Return the reasoning, content and call pieces of one chunk."""
        return _responses_fields(_step(self._answer, chunk, finish_reason))


def build_adapter(context: Any) -> KimiChatAdapter | None:
    """Build the adapter from SGLang's `ChatEncodingAdapterContext`; None without a tokenizer."""
    if context.tokenizer is None:
        return None  # --skip-tokenizer-init: this server encodes no chat prompts
    serving.activate()
    response_hooks.extend_stream_chunks()
    owns_output = context.reasoning_parser == context.tool_call_parser == PARSER
    vocabulary = vocabulary_of(context.tokenizer)
    return KimiChatAdapter(vocabulary, context.chat_hooks, owns_output=owns_output)


def _tool_choice(may_call: bool) -> str:
    """Return what the parser must know of the choice: SGLang has decided whether calls count."""
    return "auto" if may_call else "none"


def _step(
    answer: Answer, chunk: dict[str, Any], finish_reason: dict[str, Any] | None
) -> list[Event]:
    output_ids = chunk.get("output_ids") or []
    new_ids = select_new_output_ids(
        output_ids=output_ids,
        num_consumed_tokens=answer.num_consumed_tokens,
        # A request that is aborted while it waits ends without a count.
        completion_tokens=chunk["meta_info"].get("completion_tokens", len(output_ids)),
        finish_reason_type=finish_reason["type"] if finish_reason else None,
        incremental=get_serving().incremental_streaming_output,
    )
    if finish_reason is None:
        return answer.feed(new_ids)
    return answer.finish(new_ids, finish_reason)


def _chat_calls(parsed: ParsedOutput) -> list[ToolCall] | None:
    calls = [
        ToolCall(
            id=call.id,
            index=index,
            function=FunctionResponse(name=call.name, arguments=call.arguments),
        )
        for index, call in enumerate(parsed.tool_calls)
    ]
    return calls or None


def _responses_fields(events: Sequence[Event]) -> tuple[str, str, list[ToolCallItem]]:
    """Sort events into the three fields; SGLang itself joins the pieces of a call by its index."""
    reasoning, content = "", ""
    calls: list[ToolCallItem] = []
    for event in events:
        match event:
            case Reasoning(text):
                reasoning += text
            case Content(text):
                content += text
            case CallStart(index, _, name):
                calls.append(ToolCallItem(tool_index=index, name=name, parameters=""))
            case ArgumentText(index, text) if calls and calls[-1].tool_index == index:
                calls[-1].parameters += text
            case ArgumentText(index, text):
                calls.append(ToolCallItem(tool_index=index, name=None, parameters=text))
            case _:
                pass
    return reasoning, content, calls
