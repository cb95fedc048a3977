"""Widen SGLang's request and response models by what Kimi's clients send and read.

pydantic drops what a model does not declare before any code of ours runs: `reasoning` in the
history, a user's `name`, `max_thinking_tokens`, and `reasoning` or `cached_tokens` in a response.
And it refuses what the prompt format can show: other roles, a user message without content, parts
of other types. The models are rebuilt with extra fields allowed, and where this process serves our
model messages are taken as they come, for the codec to check. This has to happen before SGLang's
HTTP server is imported, which builds its validators from the models once.
"""

import reprlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import SerializeAsAny, WrapValidator, field_validator, model_validator
from pydantic_core import core_schema

from sglang_kimi.codec import messages as fields
from sglang_kimi.seams import require

from . import serving

_EXTENSIBLE = (
    "message_model",
    "user_message_model",
    "chat_request_model",
    "responses_request_model",
    "messages_request_model",
    "count_tokens_request_model",
    "usage_model",
    "message_response_model",
    "chat_response_model",
    "messages_response_model",
    "responses_response_model",
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

_WITH_MESSAGES = ("chat_request_model", "tokenize_request_model")
"""Seams of the models with chat messages; the other APIs' messages become such too."""

_USUAL_ROLES: Final = ("system", "user", "assistant", "tool", "developer", "function")
"""Roles that SGLang takes in any letter case; every other one is rendered as it came."""

_NOT_SHOWN: Final = ("tools",)
"""Keys of a message that SGLang would act on and that this model's format does not know."""


def widen() -> None:
    """Let the models keep what they do not declare and take every message that can be shown."""
    models: list[Any] = [require(name) for name in _EXTENSIBLE]
    for model in models:
        model.model_config["extra"] = "allow"
    for name in _WITH_MESSAGES:
        _take_any_message(require(name).model_fields["messages"])
    _take_any_role(require("anthropic_message_model"))
    _refuse_no_objects(require("chat_request_model"))
    for model in [*models, *(require(name) for name in _NESTING)]:
        model.model_rebuild(force=True)


def _take_any_role(message_model: Any) -> None:
    """Let a message of `/v1/messages` have any role where our model is served."""
    field = message_model.model_fields["role"]
    if any(isinstance(entry, WrapValidator) for entry in field.metadata):
        return  # widened before

    def read(value: Any, usual: Callable[[Any], Any]) -> Any:
        is_role = isinstance(value, str) and bool(value)
        return value if is_role and serving.is_active() else usual(value)

    as_it_is: Any = SerializeAsAny
    field.metadata += [as_it_is(), WrapValidator(read)]
    message_model.model_rebuild(force=True)


def _refuse_no_objects(request_model: Any) -> None:
    """Check what the model's own validators call `get` on, which is a 500 where it is no object."""

    def check(value: Any) -> Any:
        if serving.is_active() and not isinstance(value, request_model):
            _check_object(value, "body")
            _check_object(value.get("response_format"), "response_format")
        return value

    def core_schema_of(cls: Any, source: Any, handler: Callable[[Any], Any]) -> Any:
        return core_schema.no_info_before_validator_function(check, handler(source))

    request_model.__get_pydantic_core_schema__ = classmethod(core_schema_of)


def _check_object(value: Any, field: str) -> None:
    if not isinstance(value, Mapping) and (value is not None or field == "body"):
        got = "null" if value is None else f"{type(value).__name__} {reprlib.repr(value)}"
        raise ValueError(f"{field}: want an object, got {got}")


def _take_any_message(field: Any) -> None:
    """Read a field of chat messages by `read_messages` where our model is served."""
    if any(isinstance(entry, WrapValidator) for entry in field.metadata):
        return  # widened before
    message_model = _message_model(require("message_model"))

    def read(value: Any, usual: Callable[[Any], Any]) -> Any:
        if value is None or not serving.is_active():
            return usual(value)  # `/tokenize` may have a prompt instead
        return read_messages(value, message_model)

    as_it_is: Any = SerializeAsAny
    field.metadata += [as_it_is(), WrapValidator(read)]


def _message_model(stock: Any) -> Any:
    """Return SGLang's message model, by which it knows messages, with any value in every field."""

    class KimiMessage(stock):  # type: ignore[misc]
        @field_validator("role", mode="before")
        @classmethod
        def _normalize_role(cls, role: str) -> str:
            return role

        @model_validator(mode="after")
        def validate_thinking_parts_role(self) -> "KimiMessage":
            return self

    for field in KimiMessage.model_fields.values():
        field.annotation = Any
    KimiMessage.model_rebuild(force=True)
    return KimiMessage


def read_messages(value: Any, message_model: Any) -> Any:
    """Return messages as objects of `message_model`, each field as the client sent it.

    Raises PromptError, which pydantic reports as an error of the field, where there is no list of
    objects with roles; what else is wrong with a message is the codec's to say.
    """
    read = []
    for index, message in enumerate(fields.check_objects(value, "messages")):
        role = fields.role(message, f"messages[{index}]")
        usual = role.lower()
        shown = {key: value for key, value in message.items() if key not in _NOT_SHOWN}
        read.append(
            message_model.model_validate(
                {**shown, "role": usual if usual in _USUAL_ROLES else role}
            )
        )
    return read
