"""What SGLang's responses say otherwise for our model: reasoning, cached tokens, errors."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

import msgspec
import orjson
from fastapi.responses import ORJSONResponse

from sglang_kimi.seams import hook, require

from . import answer_warnings, refusals, serving
from .answer_warnings import Call, warnings_of
from .metrics import CUT_CALL_LEFT_OUT, answer_metrics
from .names import ENCODING, is_kimi
from .validation_errors import param_of


def register() -> None:
    """Hook what builds responses."""
    hook("build_chat_response", _complete_chat_response, "after")
    hook("build_response", _warn_of_response, "after")
    hook("stream_messages", _stream_messages, "around")
    hook("build_usage", _add_cached_tokens, "after")
    hook("build_error", _nest_error, "after")
    hook("build_responses_error", _nest_error, "after")
    hook("convert_chat_response", _convert_chat_response, "around")


def extend_stream_chunks() -> None:
    """Give SGLang's own stream chunks `reasoning`; called where this process serves our model."""
    stock = require("stream_delta")
    if "reasoning" in stock.__struct_fields__:
        return
    delta = msgspec.defstruct(
        "ReasoningDelta",
        # A factory, since plain defaults are left out of the JSON and clients read the attribute.
        [("reasoning", str | None, msgspec.field(default_factory=lambda: None))],
        bases=(stock,),
        namespace={"__post_init__": _copy_reasoning},
        omit_defaults=True,
    )
    require("stream_chunks").StreamDelta = delta


def _copy_reasoning(delta: Any) -> None:
    delta.reasoning = delta.reasoning_content


def _complete_chat_response(response: Any, handler: Any, request: Any, *_: Any) -> Any:
    """Give every message `reasoning` too, which the model card's own examples read; and warn."""
    if handler.chat_encoding_spec != ENCODING:
        return response
    warnings = []
    for choice in getattr(response, "choices", ()):
        message = choice.message
        message.reasoning = message.reasoning_content
        calls = [Call(c.function.name, c.function.arguments) for c in message.tool_calls or ()]
        warnings += warnings_of(request, calls, message.content)
    if warnings:
        setattr(response, answer_warnings.FIELD, warnings)
    return response


def _warn_of_response(response: Any, request: Any, *_: Any, output: Any, **__: Any) -> Any:
    """Say what an answer of `/v1/responses` breaks, streamed or not."""
    if serving.is_active():
        calls = [Call(item.name, item.arguments) for item in output if item.type == "function_call"]
        parts = [part for item in output if item.type == "message" for part in item.content]
        content = "".join(getattr(part, "text", "") for part in parts)
        if warnings := warnings_of(request, calls, content):
            setattr(response, answer_warnings.FIELD, warnings)
    return response


def _add_cached_tokens(usage: Any, *_: Any, **__: Any) -> Any:
    """Give usage the top-level `cached_tokens` that Kimi's clients read."""
    if serving.is_active() and usage.prompt_tokens_details is not None:
        usage.cached_tokens = usage.prompt_tokens_details.cached_tokens
    return usage


def _nest_error(response: Any, handler: Any, *_: Any, **__: Any) -> Any:
    """Put a flat error under `error`, where OpenAI's clients look for it, and name its field."""
    if not is_kimi(handler.tokenizer_manager.model_config.hf_config):
        return response
    body = orjson.loads(response.body)
    error = body.get("error", body)
    error.pop("object", None)
    error["message"] = error["message"].strip()  # /v1/responses appends an error's cause
    if response.status_code == HTTPStatus.BAD_REQUEST:
        error["type"] = "invalid_request_error"
        error["param"] = error.get("param") or param_of(error["message"])
        if error["message"].startswith(refusals.TOO_LONG):
            error["code"] = "context_length_exceeded"
    return ORJSONResponse(content={"error": error}, status_code=response.status_code)


def _convert_chat_response(convert: Callable[..., Any], serving: Any, response: Any) -> Any:
    """Keep warnings in a `/v1/messages` answer, and leave a call that the token limit cut out.

    Its arguments are no object, and an empty `input` would look like a call that the model made.
    """
    if serving.openai_serving_chat.chat_encoding_spec == ENCODING:
        for choice in response.choices:
            calls = choice.message.tool_calls
            if choice.finish_reason == "length" and calls:
                whole = [call for call in calls if _is_object(call.function.arguments)]
                choice.message.tool_calls = whole or None
                if len(whole) < len(calls):
                    num_left_out = len(calls) - len(whole)
                    answer_metrics().count_repairs({CUT_CALL_LEFT_OUT: num_left_out})
    message = convert(serving, response)
    if warnings := getattr(response, answer_warnings.FIELD, None):
        setattr(message, answer_warnings.FIELD, warnings)
    return message


async def _stream_messages(
    generate: Callable[..., AsyncGenerator[str, None]], handler: Any, *args: Any
) -> AsyncGenerator[str, None]:
    """Put the warnings of a streamed `/v1/messages` answer into its last event with fields."""
    warnings = answer_warnings.noted()
    async with aclosing(generate(handler, *args)) as events:
        async for event in events:
            yield _with_warnings(event, warnings) if warnings else event


def _with_warnings(event: str, warnings: list[str]) -> str:
    begin = "event: message_delta\ndata: "
    if not event.startswith(begin):
        return event
    fields = orjson.loads(event.removeprefix(begin))
    return f"{begin}{orjson.dumps({**fields, answer_warnings.FIELD: warnings}).decode()}\n\n"


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except ValueError:
        return False
