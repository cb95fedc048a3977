"""Messages and tools to the prompt's token ids (FORMAT section 3).

Control ids come from this module alone: every text of a client is encoded as ordinary tokens, also
where it spells a control token. Each turn begins and ends with a control token, so the ids of a
history are a prefix of the ids of any longer one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sglang_kimi.parsers.vocabulary import (
    ARGUMENT_BEGIN,
    CALL_BEGIN,
    CALL_END,
    SECTION_BEGIN,
    SECTION_END,
    THINK_CLOSE,
    THINK_OPEN,
    TURN_END,
)

from . import messages as fields
from .cuts import TextCuts
from .messages import PromptError
from .tool_call_ids import ToolCallIdMode, ToolCallIds, naming
from .tool_declaration import tool_declaration
from .vocabulary import Vocabulary

_OPENERS: Final = {"user": "<|im_user|>", "assistant": "<|im_assistant|>"}
_OTHER_OPENER: Final = "<|im_system|>"
_MIDDLE: Final = "<|im_middle|>"
_MEDIA_BEGIN: Final = "<|media_begin|>"
_MEDIA_CONTENT: Final = "<|media_content|>"
_MEDIA_PAD: Final = "<|media_pad|>"
_MEDIA_END: Final = "<|media_end|>"
_VIDEO_PLACEHOLDER: Final = "<|kimi_k25_video_placeholder|>"  # ordinary text, not a control token


@dataclass(frozen=True)
class Segment:
    """The ids of one part of a prompt; what it came from is None but for messages."""

    message_index: int | None
    token_ids: list[int]


class PromptCodec:
    """Encodes conversations for one vocabulary; holds no state between calls."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Encode for `vocabulary`, whose control tokens must have Kimi's names."""
        self.vocabulary = vocabulary

    def encode(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        tool_call_ids: ToolCallIdMode = "normal",
        continue_final_message: bool = False,
    ) -> list[int]:
        """Return the prompt's ids, the generation prompt (with its open `<think>`) included.

        messages:               dictionaries of the OpenAI form, also with `reasoning`.
        tools:                  OpenAI tool objects; None and [] declare nothing.
        tool_call_ids:          "normal" gives `functions.NAME:INDEX`, "verbatim" the client's ids.
        continue_final_message: leave the last turn, an assistant's, open after its content instead
                                of opening a new one; its thinking is closed.

        Raises PromptError, which names the message and field.
        """
        segments = self.encode_segments(
            messages,
            tools,
            tool_call_ids=tool_call_ids,
            continue_final_message=continue_final_message,
        )
        return [token_id for segment in segments for token_id in segment.token_ids]

    def encode_segments(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        tool_call_ids: ToolCallIdMode = "normal",
        continue_final_message: bool = False,
    ) -> list[Segment]:
        """Return the prompt as its parts: declaration if any, each message, generation prompt."""
        segments = []
        writer = PromptWriter(self.vocabulary)
        if tools is not None and fields.check_objects(tools, "tools"):
            write_declaration(writer, tools)
            segments.append(Segment(None, writer.take()))
        fields.check_objects(messages, "messages")
        if continue_final_message:
            check_continuable(messages)
        ids = naming(tool_call_ids)
        for index, message in enumerate(messages):
            write_turn(writer, message, f"messages[{index}]", ids)
            if not (continue_final_message and index == len(messages) - 1):
                writer.control(TURN_END)
            segments.append(Segment(index, writer.take()))
        if not continue_final_message:
            write_generation_prompt(writer)
            segments.append(Segment(None, writer.take()))
        return segments

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of a prompt, control tokens shown by their texts."""
        return self.vocabulary.decode(token_ids)


class PromptWriter:
    """Joins adjacent texts, since ids depend on what stands beside, and cuts at control tokens.

    cuts:   where the text written so far ends; None at a prompt's beginning.
    encode: what gives a text's ids, None for the vocabulary's `encode_text`.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        cuts: TextCuts | None = None,
        encode: Callable[[str, TextCuts], Sequence[int]] | None = None,
    ) -> None:
        self._vocabulary = vocabulary
        self._cuts = TextCuts() if cuts is None else cuts
        self._encode = encode or vocabulary.encode_text
        self._texts: list[str] = []
        self._token_ids: list[int] = []

    def text(self, text: str) -> None:
        """Write ordinary text: whatever it spells, it gives no control token."""
        self._texts.append(text)

    def control(self, text: str) -> None:
        """Write a control token, which ends the text before it."""
        self._flush()
        self._token_ids.append(self._vocabulary.control_id(text))
        self._cuts.pieces(text)  # counts it; a control token itself is never cut

    def take(self) -> list[int]:
        """Return the ids written since the last call."""
        self._flush()
        token_ids, self._token_ids = self._token_ids, []
        return token_ids

    def _flush(self) -> None:
        if self._texts:
            self._token_ids += self._encode("".join(self._texts), self._cuts)
            self._texts.clear()


def write_declaration(writer: PromptWriter, tools: Sequence[Mapping[str, Any]]) -> None:
    """Write the turn that declares the tools; PromptError where schemas are nested too deeply."""
    try:
        declaration = tool_declaration(tools)
    except RecursionError as error:
        raise PromptError("tools", "schemas nested less deeply", tools) from error
    writer.control(_OTHER_OPENER)
    writer.text("tool_declare")
    writer.control(_MIDDLE)
    writer.text(declaration)
    writer.control(TURN_END)


def write_turn(
    writer: PromptWriter, message: Mapping[str, Any], where: str, ids: ToolCallIds
) -> None:
    """Write a turn up to its end token, which a message that is to be continued lacks."""
    role = fields.role(message, where)
    writer.control(_OPENERS.get(role, _OTHER_OPENER))
    writer.text(fields.heading(message, where))
    writer.control(_MIDDLE)
    if role == "assistant":
        _write_assistant(writer, message, where, ids)
        return
    if role == "tool":
        writer.text(f"## Return of {ids.for_result(message, where)}\n")
    _write_content(writer, message, where)


def write_generation_prompt(writer: PromptWriter) -> None:
    """Write what stands before the first token of every answer."""
    writer.control(_OPENERS["assistant"])
    writer.text("assistant")
    writer.control(_MIDDLE)
    writer.control(THINK_OPEN)


def _write_assistant(
    writer: PromptWriter, message: Mapping[str, Any], where: str, ids: ToolCallIds
) -> None:
    writer.control(THINK_OPEN)
    writer.text(fields.reasoning(message, where))
    writer.control(THINK_CLOSE)
    _write_content(writer, message, where)
    calls = fields.tool_calls(message, where)
    if not calls:
        return
    writer.control(SECTION_BEGIN)
    call_ids = ids.for_calls(message, where)
    for index, (call, call_id) in enumerate(zip(calls, call_ids, strict=True)):
        writer.control(CALL_BEGIN)
        writer.text(call_id)
        writer.control(ARGUMENT_BEGIN)
        writer.text(fields.call_arguments(call, f"{where}.tool_calls[{index}]"))
        writer.control(CALL_END)
    writer.control(SECTION_END)


def _write_content(writer: PromptWriter, message: Mapping[str, Any], where: str) -> None:
    for piece in fields.content(message, where):
        match piece:
            case fields.Text(text):
                writer.text(text)
            case fields.Image():
                writer.control(_MEDIA_BEGIN)
                writer.text("image")
                writer.control(_MEDIA_CONTENT)
                writer.control(_MEDIA_PAD)
                writer.control(_MEDIA_END)
                writer.text("\n")
            case fields.Video():
                writer.text(f"{_VIDEO_PLACEHOLDER}\n")


def check_continuable(messages: Sequence[Mapping[str, Any]]) -> None:
    """Raise PromptError unless the last message is an assistant's whose content may go on."""
    if not messages:
        raise PromptError("messages", "an assistant message to continue", messages)
    where = f"messages[{len(messages) - 1}]"
    role = fields.role(messages[-1], where)
    if role != "assistant":
        raise PromptError(f"{where}.role", "assistant, since it is to be continued", role)
    if calls := fields.tool_calls(messages[-1], where):
        raise PromptError(f"{where}.tool_calls", "none, since content is to be continued", calls)
