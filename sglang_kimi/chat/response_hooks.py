"""What SGLang's responses say otherwise for our model: reasoning, cached tokens, errors."""

import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
import orjson
from fastapi.responses import ORJSONResponse

from sglang_kimi.seams import hook, require

from . import refusals, serving
from .names import ENCODING, is_kimi
from .validation_errors import param_of

logger = logging.getLogger(__name__)


def register() -> None:
    """Hook what builds responses."""
    hook("build_chat_response", _add_reasoning, "after")
    hook("build_usage", _add_cached_tokens, "after")
    hook("build_error", _nest_error, "after")
    hook("build_responses_error", _nest_error, "after")
    hook("convert_chat_response", _leave_out_cut_calls, "around")


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


def _add_reasoning(response: Any, handler: Any, *_: Any) -> Any:
    """Give every message `reasoning` too, the name that the model card's own examples read."""
    if handler.chat_encoding_spec == ENCODING:
        for choice in getattr(response, "choices", ()):
            choice.message.reasoning = choice.message.reasoning_content
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


def _leave_out_cut_calls(convert: Callable[..., Any], serving: Any, response: Any) -> Any:
    """Leave a call that the token limit cut out of a `/v1/messages` answer.

    Its arguments are no object, and an empty `input` would look like a call that the model made.
    """
    if serving.openai_serving_chat.chat_encoding_spec == ENCODING:
        for choice in response.choices:
            calls = choice.message.tool_calls
            if choice.finish_reason == "length" and calls:
                whole = [call for call in calls if _is_object(call.function.arguments)]
                choice.message.tool_calls = whole or None
                if len(whole) < len(calls):
                    logger.info("%d cut call(s) left out of a message", len(calls) - len(whole))
    return convert(serving, response)


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except ValueError:
        return False
