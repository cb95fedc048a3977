"""A chat request's messages, read from SGLang's request objects as the codec takes them.

The whole history comes with every request, and almost all of it is known from the last one: of a
message only its image is made here, from which the codec knows it again. Imports nothing of SGLang.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from sglang_kimi.codec.message_images import ImagedMessages

_TEXT_FIELDS: Final = ("name", "tool_call_id", "reasoning_content")
_EXTRA_FIELDS: Final = frozenset((*_TEXT_FIELDS, "reasoning"))
"""What the codec reads of a message beside its role, content and calls.

SGLang's models do not declare all of them, and a user's message has none.
"""

_CONTENT, _CALLS, _PHASE = 1, 2, 3
_IMAGE_FIELDS: Final = ("role", "content", "tool_calls", "phase", *_TEXT_FIELDS)
"""An image is a tuple of these, as far as SGLang's model declares them, and of the extra fields."""


def conversation_of(request: Any) -> Sequence[Mapping[str, Any]]:
    """Return a chat request's messages as `messages_of` does, those of the last request unread."""
    messages = request.messages
    images = _images(messages)
    if images is None:
        return messages_of(request)
    return ImagedMessages(images, lambda index: message_of(messages[index]))


def messages_of(request: Any) -> list[dict[str, Any]]:
    """Return a chat request's messages with what the codec reads of them, as the client sent it.

    Arguments are the client's own strings. Assistant messages that `/v1/responses` made of one turn
    are one again.
    """
    messages: list[dict[str, Any]] = []
    before = None
    for message in request.messages:
        fields = message_of(message)
        if "tool_calls" in fields and before is not None and _is_rest_of_turn(before, fields):
            messages[-1]["tool_calls"] = [
                *(messages[-1].get("tool_calls") or ()),
                *fields["tool_calls"],
            ]
        else:
            messages.append(fields)
            before = message
    return messages


def message_of(message: Any) -> dict[str, Any]:
    """Return what the codec reads of a message; a field that is None is absent."""
    declared = message.__dict__
    fields = {"role": declared["role"], "content": declared.get("content")}
    for name in _TEXT_FIELDS:
        if (text := declared.get(name)) is not None:
            fields[name] = text
    if (calls := declared.get("tool_calls")) is not None:
        fields["tool_calls"] = calls
    if extra := message.__pydantic_extra__:
        for name in _EXTRA_FIELDS & extra.keys():
            fields[name] = extra[name]
        if "reasoning_details" in extra:
            _read_reasoning_details(fields, extra["reasoning_details"])
    return fields


def _images(messages: Sequence[Any]) -> list[Any] | None:
    """Return what stands for each message; None where one has to be joined with another."""
    images = [(_getters.get(type(m)) or _new_getter(type(m)))(m) for m in messages]
    for index, image in enumerate(images):
        if len(image) > _PHASE and image[_CALLS] is not None:
            if index and images[index - 1][_PHASE : _PHASE + 1] == ("commentary",):
                return None
            images[index] = _with_call_texts(image)
        if type(image[_CONTENT]) is list:
            images[index] = _with_content_texts(images[index])
    return images


_getters: dict[type, Callable[[Any], tuple[Any, ...]]] = {}


def _new_getter(kind: type) -> Callable[[Any], tuple[Any, ...]]:
    """Return what takes the fields of an image from a message of a model of SGLang's."""
    declared: Any = kind.model_fields  # type: ignore[attr-defined]
    names = [name for name in _IMAGE_FIELDS if name in declared]
    _getters[kind] = attrgetter(*names, "__pydantic_extra__")
    return _getters[kind]


def _with_call_texts(image: tuple[Any, ...]) -> Any:
    calls = _texts_of(image[_CALLS], _call_image)
    return (*image[:_CALLS], calls, *image[_CALLS + 1 :])


def _with_content_texts(image: tuple[Any, ...]) -> Any:
    return (image[0], _texts_of(image[_CONTENT], _part_image), *image[_CONTENT + 1 :])


def _texts_of(values: Any, image_of: Callable[[Any], tuple[Any, ...] | None]) -> object:
    """Return the images of a list's objects; what equals nothing where one holds no mere texts.

    Numbers may equal another value that means something else, and the order of an object's keys
    counts, which comparing does not see.
    """
    if type(values) is not list:
        return object()
    images = tuple(map(image_of, values))
    return object() if None in images else images


def _call_image(call: Any) -> tuple[Any, ...] | None:
    function = call.get("function") if type(call) is dict else None
    if type(function) is not dict:
        return None
    call_id, name, arguments = call.get("id"), function.get("name"), function.get("arguments")
    if type(arguments) is type(name) is str and (call_id is None or type(call_id) is str):
        return call_id, name, arguments
    return None


def _part_image(part: Any) -> tuple[Any, ...] | None:
    if type(part) is not dict or part.get("type") != "text" or type(part.get("text")) is not str:
        return None
    return (part["text"],)


def _read_reasoning_details(fields: dict[str, Any], details: Any) -> None:
    """Take the thinking from `reasoning_details` where a client sends it under no other name."""
    if fields.get("reasoning") is not None or fields.get("reasoning_content") is not None:
        return
    if isinstance(details, list):
        texts = [part.get("text") for part in details if isinstance(part, Mapping)]
        fields["reasoning_content"] = "".join(text for text in texts if isinstance(text, str))


def _is_rest_of_turn(before: Any, fields: Mapping[str, Any]) -> bool:
    """Say whether `fields` holds the calls of the assistant's message before it.

    `/v1/responses` lists a turn's text and its calls apart; SGLang marks such a text as commentary
    and keeps the calls in a message of their own.
    """
    return (
        fields["role"] == "assistant" == before.role
        and before.phase == "commentary"
        and bool(fields.get("tool_calls"))
        and not any(fields.get(key) for key in ("content", "reasoning", "reasoning_content"))
    )
