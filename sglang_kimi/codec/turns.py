"""What of a message reaches the prompt, as a value to compare and to keep tables by.

Two messages with equal turns behind the same prompt give the same ids; keys that the prompt does
not show (`cache_control` and the like) play no part.
"""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from . import messages as fields

Content = str | tuple[str | type, ...]
"""A text, or the texts in order with `Image` and `Video` for the media between them."""


class ReturnedCall(NamedTuple):
    """A call as the client sent it; `id` is empty where it has none."""

    id: str
    name: str
    arguments: str


class Turn(NamedTuple):
    """A message, checked.

    heading: what names the turn, `role` or the message's name. thinking: of an assistant only.
    answers: of a tool message, the client's id of the call.
    """

    role: str
    heading: str
    content: Content
    thinking: str = ""
    calls: tuple[ReturnedCall, ...] = ()
    answers: str = ""

    @property
    def texts(self) -> tuple[str | type, ...]:
        """Return all texts, those of the calls last."""
        content = (self.content,) if isinstance(self.content, str) else self.content
        in_calls = (text for call in self.calls for text in call)
        return (self.role, self.heading, self.thinking, self.answers, *content, *in_calls)

    @property
    def num_bytes(self) -> int:
        """Return about how much memory the texts take."""
        return sum(map(sys.getsizeof, self.texts)) + 80 * len(self.calls)


def read_turn(message: Mapping[str, Any], where: str) -> Turn:
    """Return a message's turn; PromptError, as the encoder of prompts raises it, if it has none.

    This runs over the whole history at every request: texts of the usual types are taken as they
    are, and only what is unusual is looked at with care.
    """
    role = message.get("role")
    if type(role) is not str or not role:
        role = fields.role(message, where)
    heading = role if message.get("name") is None else fields.heading(message, where)
    content = message.get("content")
    if role == "assistant":
        thinking = fields.reasoning(message, where)
        text = content if type(content) is str else _content(message, where)
        has_calls = message.get("tool_calls") is not None
        return Turn(role, heading, text, thinking, _calls(message, where) if has_calls else ())
    text = content if type(content) is str else _content(message, where)
    if role == "tool":
        return Turn(role, heading, text, answers=fields.tool_call_id(message, where))
    return Turn(role, heading, text)


def _calls(message: Mapping[str, Any], where: str) -> tuple[ReturnedCall, ...]:
    calls = []
    for index, call in enumerate(fields.tool_calls(message, where)):
        function = call.get("function")
        name, arguments = None, None
        if type(function) is dict:
            name, arguments = function.get("name"), function.get("arguments")
        if type(name) is not str or type(arguments) is not str or not name:
            at = f"{where}.tool_calls[{index}]"
            name, arguments = fields.call_name(call, at), fields.call_arguments(call, at)
        calls.append(ReturnedCall(fields.original_id(call), name, arguments))
    return tuple(calls)


def _content(message: Mapping[str, Any], where: str) -> Content:
    pieces: list[str | type] = []
    texts: list[str] = []
    for piece in fields.content(message, where):
        if isinstance(piece, fields.Text):
            texts.append(piece.text)
        else:
            pieces += ("".join(texts), type(piece))
            texts = []
    text = "".join(texts)
    return (*pieces, text) if pieces else text
