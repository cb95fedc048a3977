"""What a client's request says, read from SGLang's request objects in one place.

Works on the objects of all APIs: chat requests as they came, and those that SGLang builds for
`/v1/messages` and `/v1/responses`. Imports nothing of SGLang.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

MAX_THINKING_TOKENS: Final = "max_thinking_tokens"
"""Our request field: how many tokens the model may think before the thinking is closed."""

THINKING_BUDGET: Final = "thinking_budget"
"""SGLang's own name for it among a request's `custom_params`."""

HISTORY_CALL_IDS: Final = "kimi_history_call_ids"
"""Key of `chat_template_kwargs` under which the prompt's call ids reach parser and grammar."""

_TEXT_FIELDS: Final = ("name", "tool_call_id", "reasoning_content")
_EXTRA_FIELDS: Final = frozenset((*_TEXT_FIELDS, "reasoning"))
"""What the codec reads of a message beside its role, content and calls.

SGLang's models do not declare all of them, and a user's message has none.
"""

_INSTANT_SWITCHES: Final = ("thinking", "enable_thinking")


def thinking_budget(request: Any) -> int | None:
    """Return the request's limit for thinking tokens, None without one.

    `max_thinking_tokens` of the body goes before `custom_params.thinking_budget`.
    Raises ValueError naming the field if it is no non-negative integer.
    """
    budget = _extra(request).get(MAX_THINKING_TOKENS)
    if budget is not None:
        return _check_count(budget, MAX_THINKING_TOKENS)
    budget = (getattr(request, "custom_params", None) or {}).get(THINKING_BUDGET)
    return None if budget is None else _check_count(budget, f"custom_params.{THINKING_BUDGET}")


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


def messages_of(request: Any) -> list[dict[str, Any]]:
    """Return a chat request's messages with what the codec reads of them, as the client sent it.

    Arguments are the client's own strings. Assistant messages that `/v1/responses` made of one turn
    are one again.
    """
    messages: list[dict[str, Any]] = []
    before = None
    for message in request.messages:
        fields = _message(message)
        if "tool_calls" in fields and before is not None and _is_rest_of_turn(before, fields):
            messages[-1]["tool_calls"] = [
                *(messages[-1].get("tool_calls") or ()),
                *fields["tool_calls"],
            ]
        else:
            messages.append(fields)
            before = message
    return messages


def tools_of(request: Any) -> list[dict[str, Any]]:
    """Return the declared tools without the empty fields that SGLang adds; [] without tools.

    Takes chat tools and the flat ones of `/v1/responses`.
    """
    return [_tool(tool) for tool in getattr(request, "tools", None) or ()]


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


def _message(message: Any) -> dict[str, Any]:
    """Return what the codec reads of a message; a field that is None is absent.

    This runs over the whole history at every request, so the fields are taken one by one: a tenth
    of what pydantic's dump takes.
    """
    declared = message.__dict__
    content = declared.get("content")
    if type(content) is list:
        content = [part.model_dump(exclude_unset=True) for part in content]
    fields = {"role": declared["role"], "content": content}
    for name in _TEXT_FIELDS:
        if (text := declared.get(name)) is not None:
            fields[name] = text
    if (calls := declared.get("tool_calls")) is not None:
        fields["tool_calls"] = [_call(call) for call in calls]
    if extra := message.__pydantic_extra__:
        for name in _EXTRA_FIELDS & extra.keys():
            fields[name] = extra[name]
        if "reasoning_details" in extra:
            _read_reasoning_details(fields, extra["reasoning_details"])
    return fields


def _call(call: Any) -> dict[str, Any]:
    function = call.function
    named = {"name": function.name, "arguments": function.arguments}
    return {"id": call.id, "type": call.type, "function": named}


def _check_count(value: Any, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{field}: want a non-negative integer, got {value!r}")
    return value


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
