"""What is refused before a prompt is generated from, and in which words. Imports no SGLang.

Every function gives or raises the text of an HTTP 400; fields are named by their place in the
client's own request.
"""

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

TOO_LONG: Final = "prompt is too long"
"""How the refusal of a prompt begins; agents know these words and compact their history."""

_MEDIA_PARTS: Final = (
    *("image", "image_url", "input_image", "video", "video_url"),
    *("audio_url", "input_audio", "file", "input_file", "document"),
)
_NO_MEDIA: Final = "text, as images, video, sound and files are not served yet"
_ITEMS: Final = (
    *("message", "reasoning", "function_call", "function_call_output"),
    *("custom_tool_call", "custom_tool_call_output"),
)


def too_long(num_tokens: int, num_reserved: int, context_length: int) -> str | None:
    """Return the refusal of a prompt that leaves no room for an answer, None if there is room."""
    limit = context_length - num_reserved - 1
    if num_tokens <= limit:
        return None
    return (
        f"{TOO_LONG}: {num_tokens} tokens > {limit} maximum "
        f"(this model's maximum context length is {context_length} tokens, the answer included)"
    )


def media_in_messages(messages: Sequence[Any]) -> str | None:
    """Return the refusal of the first part that is no text, of chat messages as they came."""
    for index, message in enumerate(messages):
        for where, kind in _media(message.content, f"messages[{index}].content"):
            return f"{where}: want {_NO_MEDIA}, got {kind}"
    return None


def check_blocks(messages: Sequence[Any]) -> None:
    """Raise ValueError for media, in tool results too, and nameless calls of `/v1/messages`."""
    for index, message in enumerate(messages):
        blocks = message.content if isinstance(message.content, list) else ()
        for number, block in enumerate(blocks):
            where = f"messages[{index}].content[{number}]"
            if block.type == "tool_use" and not block.name:
                raise ValueError(f"{where}.name: want the name of a function, got nothing")
            inner = block.content if block.type == "tool_result" else None
            for at, part in [
                (where, block),
                *((f"{where}.content[{i}]", part) for i, part in enumerate(_parts(inner))),
            ]:
                if part.type in _MEDIA_PARTS:
                    raise ValueError(f"{at}: want {_NO_MEDIA}, got {part.type}")


def check_items(items: Any) -> None:
    """Raise ValueError for an input item of `/v1/responses` that cannot be part of a prompt."""
    for index, item in enumerate(items if isinstance(items, list) else ()):
        where = f"input[{index}]"
        if not isinstance(item, Mapping):
            continue  # one of SGLang's own objects, from a stored response
        kind = item.get("type")
        if kind not in (None, *_ITEMS):
            raise ValueError(f"{where}.type: want one of {', '.join(_ITEMS)}, got {kind!r}")
        if kind == "function_call" and not item.get("name"):
            raise ValueError(f"{where}.name: want the name of a function, got nothing")
        if kind not in (None, "message"):
            continue
        role = item.get("role")
        if not isinstance(role, str) or not role:
            raise ValueError(f"{where}.role: want a role such as user, got {_shown(role)}")
        content = item.get("content")
        if content is not None and not isinstance(content, str | list):
            want = "a text, a list of parts or null"
            raise ValueError(f"{where}.content: want {want}, got {_shown(content)}")
        for at, part in _media(content, f"{where}.content"):
            raise ValueError(f"{at}: want {_NO_MEDIA}, got {part}")


def schemas_of(tools: Sequence[Any], place: str = "tools") -> Iterator[tuple[str, Any]]:
    """Yield the place and the schema of each declared function, chat's or `/v1/responses`'s."""
    for index, tool in enumerate(tools):
        if (function := getattr(tool, "function", None)) is not None:
            yield f"{place}[{index}].function.parameters", function.parameters
        elif tool.type == "function":
            yield f"{place}[{index}].parameters", tool.parameters


def _media(content: Any, where: str) -> Iterator[tuple[str, str]]:
    for index, part in enumerate(_parts(content)):
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind in _MEDIA_PARTS:
            yield f"{where}[{index}]", str(kind)


def _parts(content: Any) -> Sequence[Any]:
    return content if isinstance(content, list) else ()


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {reprlib.repr(value)}"
