"""What a client's request says, read from SGLang's request objects in one place.

Works on the objects of all APIs: chat requests as they came, and those that SGLang builds for
`/v1/messages` and `/v1/responses`. Imports nothing of SGLang.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

HISTORY_CALL_IDS: Final = "kimi_history_call_ids"
"""Key of `chat_template_kwargs` under which the prompt's call ids reach parser and grammar."""

_INSTANT_SWITCHES: Final = ("thinking", "enable_thinking")


def asks_for_instant_mode(request: Any) -> bool:
    """Say whether a request wants no thinking, in any of the ways that clients have for it."""
    kwargs = getattr(request, "chat_template_kwargs", None) or {}
    thinking = getattr(request, "thinking", None)
    kind = thinking.get("type") if isinstance(thinking, Mapping) else thinking
    return (
        any(kwargs.get(switch) is False for switch in _INSTANT_SWITCHES)
        or kind in (False, "disabled")
        or getattr(request, "reasoning_effort", None) == "none"
    )


def continues_final_message(request: Any) -> bool:
    """Say whether the answer continues the last message, an assistant's.

    `continue_final_message` is SGLang's field, `partial: true` on the message Moonshot's.
    """
    messages = getattr(request, "messages", None)
    if not messages or messages[-1].role != "assistant":
        return False
    return bool(request.continue_final_message or _extra(messages[-1]).get("partial"))


def tools_of(request: Any) -> list[dict[str, Any]]:
    """Return the declared tools without the empty fields that SGLang adds; [] without tools.

    Takes chat tools and the flat ones of `/v1/responses`.
    """
    return [_tool(tool) for tool in getattr(request, "tools", None) or ()]


def answer_schema(request: Any) -> Any:
    """Return the schema that the request's format gives the content, None without one."""
    chat_format: Any = getattr(request, "response_format", None)
    if getattr(chat_format, "type", None) == "json_schema":
        return chat_format.json_schema.schema_
    text_format = getattr(getattr(request, "text", None), "format", None)
    return getattr(text_format, "schema_", None)


def history_call_ids(request: Any) -> Sequence[str]:
    """Return the call ids that the prompt holds, as `remember_history` noted them."""
    kwargs = getattr(request, "chat_template_kwargs", None) or {}
    ids: Sequence[str] = kwargs.get(HISTORY_CALL_IDS) or ()
    return ids


def remember_history(request: Any, call_ids: Sequence[str]) -> None:
    """Note the prompt's call ids on the request.

    Of everything on the temporary chat request of `/v1/responses`, SGLang hands on only
    `chat_template_kwargs` to the object that sampling and parsing see later.
    """
    request.chat_template_kwargs = {
        **(request.chat_template_kwargs or {}),
        HISTORY_CALL_IDS: list(call_ids),
    }


def stop_strings(request: Any) -> list[str]:
    """Return the stop strings to cut off, none where the client wants to keep them."""
    stop = getattr(request, "stop", None)
    if not stop or getattr(request, "no_stop_trim", False):
        return []
    return [stop] if isinstance(stop, str) else list(stop)


def _extra(model: Any) -> Mapping[str, Any]:
    extra: Mapping[str, Any] | None = getattr(model, "model_extra", None)
    return extra or {}


def _tool(tool: Any) -> dict[str, Any]:
    function = getattr(tool, "function", None)
    if function is None:
        names = ("name", "description", "parameters")
        flat = {name: getattr(tool, name, None) for name in names}
        return {"type": "function", "function": _without_none(flat)}
    return {**_without_none(tool.__dict__), "function": _without_none(function.__dict__)}


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    # SGLang notes in `key_order` how the client wrote a function; no client sends such a field.
    return {k: v for k, v in fields.items() if v is not None and k != "key_order"}
