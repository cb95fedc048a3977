"""Hooks that refuse what our model cannot answer before anything is generated, and warn clients.

SGLang finds a prompt that is too long only when a stream has begun, and holds tools against rules
that their schemas were not written to. Here each of the APIs gets its 400 in time.
"""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from pydantic import ValidationError

from sglang_kimi.seams import hook, require

from . import http_app, messages_requests, refusals, thinking_switches
from .names import ENCODING
from .tool_schemas import ToolSchemas
from .validation_errors import explain


def register() -> None:
    """Hook what stands between a valid request and its generation, for all three APIs."""
    hook("validate_media", _validate_media, "around")
    hook("convert_chat_request", _check_request, "before")
    hook("convert_chat_request", _check_room, "after")
    hook("create_responses", _warn_of_response, "before")
    hook("make_response_prompt", _make_response_prompt, "around")
    hook("convert_messages_request", _check_messages_request, "before")


@cache
def tool_schemas() -> ToolSchemas:
    """Return the process's checker of tools."""
    return ToolSchemas(require("normalize_schema_types"))


def _validate_media(validate: Callable[..., str | None], handler: Any, request: Any) -> str | None:
    """Leave it to our encoding, which names message and part; SGLang's own check names neither."""
    return None if handler.chat_encoding_spec == ENCODING else validate(handler, request)


def _check_request(handler: Any, request: Any, raw_request: Any = None) -> None:
    """Refuse what drops earlier thinking, warn of what wants none; of chat and messages."""
    if handler.chat_encoding_spec == ENCODING:
        thinking_switches.check_history_kept(request)
        _warn(raw_request, request)


def _check_room(
    converted: tuple[Any, Any], handler: Any, request: Any, raw_request: Any = None
) -> None:
    if handler.chat_encoding_spec == ENCODING:
        _check_length(handler, converted[0].input_ids)


def _warn_of_response(handler: Any, request: Any, raw_request: Any = None) -> None:
    if handler.chat_encoding_spec == ENCODING:
        _warn(raw_request, request)


async def _make_response_prompt(
    make: Callable[..., Awaitable[Any]], handler: Any, request: Any, *args: Any, **options: Any
) -> Any:
    """Refuse a request of `/v1/responses`; causes are empty since SGLang shows them too."""
    if handler.chat_encoding_spec != ENCODING:
        return await make(handler, request, *args, **options)
    try:
        thinking_switches.check_history_kept(request)
        if wrong := tool_schemas().refusal(list(refusals.schemas_of(request.tools))):
            raise ValueError(wrong)
        refusals.check_items(request.input)
        made = await make(handler, request, *args, **options)
        for token_ids in made[2]:
            _check_length(handler, token_ids)
    except ValidationError as error:
        raise ValueError(explain(error.errors(), None).message) from ValueError()
    except ValueError as error:
        raise ValueError(str(error)) from ValueError()
    return made


def _check_messages_request(handler: Any, messages_request: Any) -> None:
    if handler.openai_serving_chat.chat_encoding_spec == ENCODING:
        refusals.check_blocks(messages_request.messages)
        messages_requests.tidy(messages_request)


def _check_length(handler: Any, token_ids: Any) -> None:
    """Raise ValueError where the prompt leaves no room; the operator may have it cut instead."""
    manager = handler.tokenizer_manager
    if manager.allow_auto_truncate or not isinstance(token_ids, list):
        return
    wrong = refusals.too_long(len(token_ids), manager.num_reserved_tokens, manager.context_len)
    if wrong:
        raise ValueError(wrong)


def _warn(raw_request: Any, request: Any) -> None:
    if (warning := thinking_switches.warning_of(request)) is not None:
        http_app.warn(raw_request, warning)
