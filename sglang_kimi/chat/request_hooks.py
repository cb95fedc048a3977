"""What SGLang's handlers do otherwise for our model, from request to sampling parameters."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from sglang.srt.runtime_context import get_exec, get_serving

from sglang_kimi.seams import hook

from . import (
    messages_requests,
    refusal_hooks,
    refusals,
    request_fields,
    serving,
    thinking_budget,
    thinking_switches,
    tool_grammar,
)
from .grammar_key import FIRST_CALL_INDEX, ToolCallTag, next_call_index
from .names import ENCODING, GRAMMAR_BACKEND, is_kimi

_MESSAGES_EXTRAS: Final = (
    thinking_budget.MAX_THINKING_TOKENS,
    thinking_budget.TOKEN_BUDGET,
    tool_grammar.FIELD,
    "prompt_cache_key",
    *thinking_switches.FIELDS,
)
"""Fields of ours and of other APIs that a `/v1/messages` request may have too."""

_CACHE_KEYS: Final = ("cache_salt", "extra_key")
"""SGLang's fields that keep the prefix caches of tenants apart; `/v1/messages` has none itself."""


def register() -> None:
    """Hook the handlers of chat, messages and responses."""
    hook("process_messages", _process_messages, "around")
    hook("thinking_of_request", _thinks_always, "after")
    hook("switch_thinking", _switch_thinking, "around")
    hook("validate_chat_request", _validate_chat_request, "around")
    hook("check_token_room", _limit_to_room, "before")
    hook("chat_sampling_params", _sampling_params, "around")
    hook("responses_sampling_params", _sampling_params, "around")
    hook("convert_messages_request", _carry_messages_fields, "after")


def _process_messages(
    process: Callable[..., Any], handler: Any, request: Any, is_multimodal: bool, **options: Any
) -> Any:
    """Encode first and give SGLang the ids, which spares it two copies of the whole history.

    They are dumped and copied for the adapter, which reads the request instead: 3.8 ms for 400
    messages. A client's own `input_ids` stay what is answered.
    """
    if handler.chat_encoding_spec != ENCODING or request.input_ids is not None:
        return process(handler, request, is_multimodal, **options)
    request.input_ids = handler._encoding_adapter.encode_messages(
        messages=[], request=request, tools=None, thinking=True, image_data=[]
    )
    try:
        return process(handler, request, is_multimodal, **options)
    finally:
        request.input_ids = None


def _thinks_always(thinks: bool, handler: Any, request: Any) -> bool:
    """Say that every answer begins by thinking, but one that goes on behind it."""
    if handler.chat_encoding_spec != ENCODING:
        return thinks
    return not request_fields.continues_final_message(request)


def _switch_thinking(
    switch: Callable[..., None], handler: Any, request: Any, enabled: bool
) -> None:
    """Let Anthropic's `thinking: {"type": "disabled"}` through: the model thinks all the same."""
    if handler.chat_encoding_spec != ENCODING:
        switch(handler, request, enabled)
    elif not enabled:
        kwargs = request.chat_template_kwargs or {}
        request.chat_template_kwargs = {**kwargs, "thinking": False}


def _validate_chat_request(
    validate: Callable[..., str | None], handler: Any, request: Any
) -> str | None:
    """Check tools by our rules, and lower a token limit over the context instead of refusing it.

    Kimi's own client asks for the whole window; what really is left is known with the prompt.
    """
    if handler.chat_encoding_spec != ENCODING:
        return validate(handler, request)
    context_length = handler.tokenizer_manager.context_len
    for field in ("max_completion_tokens", "max_tokens"):
        limit = getattr(request, field)
        if limit is not None and limit > context_length:
            setattr(request, field, context_length)
    schemas = list(refusals.schemas_of(request.tools or ()))
    wrong = refusal_hooks.tool_schemas().refusal(schemas)
    if wrong is not None:
        return wrong
    return _without_schemas(request.tools or (), lambda: validate(handler, request))


def _without_schemas(tools: Sequence[Any], call: Callable[[], str | None]) -> str | None:
    """Return what `call` does while the tools' schemas, checked already, are put aside."""
    schemas = [tool.function.parameters for tool in tools]
    for tool in tools:
        tool.function.parameters = None
    try:
        return call()
    finally:
        for tool, schema in zip(tools, schemas, strict=True):
            tool.function.parameters = schema


def _limit_to_room(manager: Any, obj: Any, input_ids: Any) -> None:
    """Lower `max_new_tokens` to what the context has left behind this prompt.

    A prompt that leaves no room is refused by SGLang's own check, which names both numbers.
    """
    if not is_kimi(manager.model_config.hf_config) or not isinstance(obj.sampling_params, dict):
        return
    limit = obj.sampling_params.get("max_new_tokens")
    room = manager.context_len - len(input_ids or ()) - manager.num_reserved_tokens
    if limit is not None and limit > room > 0:
        obj.sampling_params["max_new_tokens"] = room


def _sampling_params(
    build: Callable[..., dict[str, Any]],
    request: Any,
    *args: Any,
    tool_call_constraint: Any = None,
    **options: Any,
) -> dict[str, Any]:
    """Return a request's sampling parameters, with the grammar that its calls are held to.

    A wrong or contradictory wish of the client is a ValueError, which is a 400.
    """
    if not serving.is_active():
        return build(request, *args, tool_call_constraint=tool_call_constraint, **options)
    constraint = tool_grammar.held_constraint(request, tool_call_constraint)
    if constraint is None or not isinstance(constraint[1], ToolCallTag):
        params = build(request, *args, tool_call_constraint=constraint, **options)
    else:
        params = build(request, *args, **options)
        tool_grammar.add_tag(params, constraint[1])
    _add_custom_params(params, request)
    return params


def _add_custom_params(params: dict[str, Any], request: Any) -> None:
    """Add what our grammar needs of one request.

    These numbers stay out of the grammar's key, by which compiled grammars are shared.
    """
    ours: dict[str, Any] = {}
    budget = thinking_budget.of_request(request)
    if budget is not None:
        _check_that_budget_holds()
    else:
        budget = thinking_budget.of_server(request)
    if budget is not None:
        ours[thinking_budget.CUSTOM_BUDGET] = budget
    if history := request_fields.history_call_ids(request):
        ours[FIRST_CALL_INDEX] = next_call_index(history)
    if ours:
        params["custom_params"] = {**(params.get("custom_params") or {}), **ours}


def _check_that_budget_holds() -> None:
    """Raise ValueError where the operator chose a grammar backend that knows no thinking budget."""
    backend = get_exec().kernel.grammar_backend
    if backend != GRAMMAR_BACKEND and not get_serving().enable_strict_thinking:
        raise ValueError(
            f"{thinking_budget.MAX_THINKING_TOKENS}: want a server with --grammar-backend "
            f"{GRAMMAR_BACKEND} (the default for this model), got {backend!r}"
        )


def _carry_messages_fields(chat_request: Any, handler: Any, messages_request: Any) -> Any:
    """Take over from a `/v1/messages` request what SGLang's conversion leaves out or changes."""
    if handler.openai_serving_chat.chat_encoding_spec != ENCODING:
        return chat_request
    extra = messages_request.model_extra or {}
    for name in _MESSAGES_EXTRAS:
        if name in extra:
            chat_request.model_extra[name] = extra[name]
    chat_request.model_extra["metadata"] = messages_request.metadata
    if (thinking := extra.get(messages_requests.THINKING)) is not None:
        chat_request.thinking = thinking
    for name in _CACHE_KEYS:
        setattr(chat_request, name, _text_or_none(extra.get(name), name))
    _restore_tool_inputs(chat_request, messages_request)
    return chat_request


def _text_or_none(value: Any, field: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{field}: want a text, got {value!r}")
    return value


def _restore_tool_inputs(chat_request: Any, messages_request: Any) -> None:
    """Write past calls' arguments as the prompt format has them: SGLang escapes non-ASCII."""
    inputs = [
        block.input
        for message in messages_request.messages
        if message.role == "assistant" and not isinstance(message.content, str)
        for block in message.content
        if block.type == "tool_use"
    ]
    calls = [
        call
        for message in chat_request.messages
        if message.role == "assistant"
        for call in message.tool_calls or ()
    ]
    for call, value in zip(calls, inputs, strict=True):
        call["function"]["arguments"] = json.dumps(value or {}, ensure_ascii=False)
