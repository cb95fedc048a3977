"""Widen SGLang's request and response models by the fields that Kimi's clients send and read.

pydantic drops what a model does not declare before any code of ours runs: `reasoning` in the
history, a user's `name`, `max_thinking_tokens`, and `reasoning` or `cached_tokens` in a response.
The models are rebuilt with extra fields allowed; this has to happen before SGLang's HTTP server is
imported, which builds its validators from them once.
"""

from typing import Any

from sglang_kimi.seams import require

_EXTENSIBLE = (
    "message_model",
    "user_message_model",
    "chat_request_model",
    "responses_request_model",
    "messages_request_model",
    "count_tokens_request_model",
    "usage_model",
    "message_response_model",
)
"""Seams of the models that take or give extra fields."""

_NESTING = (
    "chat_request_model",
    "tokenize_request_model",
    "choice_model",
    "chat_response_model",
    "chat_stream_model",
    "completion_response_model",
    "completion_stream_model",
    "responses_response_model",
    "responses_event_model",
)
"""Seams of the models that hold those, inner ones first: each keeps a copy of what it nests."""


def widen() -> None:
    """Let the models keep fields that they do not declare."""
    models: list[Any] = [require(name) for name in _EXTENSIBLE]
    for model in models:
        model.model_config["extra"] = "allow"
    for model in [*models, *(require(name) for name in _NESTING)]:
        model.model_rebuild(force=True)
