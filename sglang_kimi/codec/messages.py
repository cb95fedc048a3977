"""What a chat message holds, checked: the only place that knows the shape of clients' dictionaries.

Refuses what cannot be read (a number as content, a call that is no object) with `PromptError`, and
takes what clients make when they cut or rewrite a history: arguments that are no JSON, results
without call, roles of their own, None for absent.
"""

import json
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_IMAGE_PARTS = ("image", "image_url")
_VIDEO_PARTS = ("video", "video_url")


class PromptError(ValueError):
    """A conversation cannot be rendered: names message and field, what came and what is right."""

    def __init__(self, where: str, want: str, value: Any) -> None:
        """Say that the field `where` holds `value` but must be `want`."""
        got = "nothing" if value is None else f"{type(value).__name__} {reprlib.repr(value)}"
        super().__init__(f"{where}: want {want}, got {got}")


@dataclass(frozen=True)
class Text:
    """A piece of content that is ordinary text."""

    text: str


@dataclass(frozen=True)
class Image:
    """The place of an image in the content."""


@dataclass(frozen=True)
class Video:
    """The place of a video in the content."""


def check_objects(values: Any, where: str) -> Sequence[Mapping[str, Any]]:
    """Return `values` if it is a list of objects, else raise PromptError for `where`."""
    if not isinstance(values, list | tuple):
        raise PromptError(where, "a list of objects", values)
    for index, value in enumerate(values):
        if type(value) is not dict and not isinstance(value, Mapping):
            raise PromptError(f"{where}[{index}]", "an object", value)
    return values


def role(message: Mapping[str, Any], where: str) -> str:
    """Return the role, which may be any non-empty text."""
    value = message.get("role")
    if not isinstance(value, str) or not value:
        raise PromptError(f"{where}.role", "a role such as user, assistant or tool", value)
    return value


def heading(message: Mapping[str, Any], where: str) -> str:
    """Return what stands between opener and body: the name if there is one, else the role."""
    return _optional_text(message, "name", where) or role(message, where)


def reasoning(message: Mapping[str, Any], where: str) -> str:
    """Return an assistant message's thinking, empty if it has none.

    `reasoning`, even empty, goes before `reasoning_content`; None counts as absent.
    """
    for key in ("reasoning", "reasoning_content"):
        value = _optional_text(message, key, where)
        if value is not None:
            return value
    return ""


def content(message: Mapping[str, Any], where: str) -> Iterator[Text | Image | Video]:
    """Yield the pieces of the content in order; None or absent content has none."""
    value = message.get("content")
    where = f"{where}.content"
    if value is None:
        return
    if isinstance(value, str):
        yield Text(value)
        return
    if not isinstance(value, list | tuple):
        raise PromptError(where, "a text, a list of parts or null", value)
    for index, part in enumerate(value):
        yield _part(part, f"{where}[{index}]")


def tool_call_id(message: Mapping[str, Any], where: str) -> str:
    """Return the id that a tool message answers, empty if it names none."""
    return _optional_text(message, "tool_call_id", where) or ""


def tool_calls(message: Mapping[str, Any], where: str) -> Sequence[Mapping[str, Any]]:
    """Return the calls of an assistant message, each an object; none if absent or None."""
    value = message.get("tool_calls")
    return () if value is None else check_objects(value, f"{where}.tool_calls")


def call_id(call: Mapping[str, Any], where: str) -> str:
    """Return the id of a call, empty if it has none."""
    return _optional_text(call, "id", where) or ""


def original_id(call: Mapping[str, Any]) -> str:
    """Return the client's id of a call, whatever it is, as text.

    Empty without one: such a call is answered by the results that name none.
    """
    value = call.get("id")
    return "" if value is None else str(value)


def call_name(call: Mapping[str, Any], where: str) -> str:
    """Return the name of the function that a call names."""
    value = _function(call, where).get("name")
    if not isinstance(value, str) or not value:
        raise PromptError(f"{where}.function.name", "the name of a function", value)
    return value


def call_arguments(call: Mapping[str, Any], where: str) -> str:
    """Return a call's arguments: a text as it is, also if it is no JSON; any other value as JSON.

    Absent arguments are an empty object, which is what a call without arguments reads back as.
    """
    value = _function(call, where).get("arguments")
    if isinstance(value, str):
        return value
    try:
        return json.dumps({} if value is None else value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise PromptError(f"{where}.function.arguments", "a text or a JSON value", value) from error


def _function(call: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    value = call.get("function")
    if not isinstance(value, Mapping):
        raise PromptError(f"{where}.function", "an object with name and arguments", value)
    return value


def _optional_text(message: Mapping[str, Any], key: str, where: str) -> str | None:
    value = message.get(key)
    if value is not None and not isinstance(value, str):
        raise PromptError(f"{where}.{key}", "a text or null", value)
    return value


def _part(part: Any, where: str) -> Text | Image | Video:
    if not isinstance(part, Mapping):
        raise PromptError(where, "an object with a type", part)
    kind = part.get("type")
    if kind in _IMAGE_PARTS:
        return Image()
    if kind in _VIDEO_PARTS:
        return Video()
    return Text(_optional_text(part, "text", where) or "")
