"""Of all that pydantic says about a request, a client is told the one thing that is wrong."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from sglang_kimi.chat.validation_errors import explain, param_of


class Text(BaseModel):
    type: Literal["text"]
    text: str


class Image(BaseModel):
    type: Literal["image"]
    url: str


class Message(BaseModel):
    role: Literal["user", "assistant"]
    content: str | list[Text | Image] | None = None


class Request(BaseModel):
    model: str
    messages: list[Message]
    top_k: int | None = Field(default=None, ge=1)
    stop: str | list[str] | None = None


def explained(**fields):
    body = {"model": "m", "messages": [{"role": "user"}], **fields}
    body = {key: value for key, value in body.items() if value is not ...}
    with pytest.raises(ValidationError) as caught:
        Request.model_validate(body)
    errors: Any = [{**error, "loc": ("body", *error["loc"])} for error in caught.value.errors()]
    return explain(errors, body)


@pytest.mark.parametrize(
    ("fields", "param", "text"),
    [
        ({"messages": [{"role": "user"}] * 3 + [{"role": "user", "content": 5}]},
         "messages[3].content", "want a list or a text, got int 5"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
         "messages[0].content[0].text", "want a text, got int 5"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]},
         "messages[0].content[0].text", "want a value, got nothing"),
        ({"messages": [{"role": "boss"}]},
         "messages[0].role", "want one of 'user' or 'assistant', got str 'boss'"),
        ({"messages": [7]}, "messages[0]", "want an object, got int 7"),
        ({"messages": None}, "messages", "want a list, got null"),
        ({"model": ...}, "model", "want a value, got nothing"),
        ({"top_k": "x"}, "top_k", "want a whole number, got str 'x'"),
        ({"top_k": 0}, "top_k", "want a number of at least 1, got int 0"),
        ({"stop": [1]}, "stop[0]", "want a text, got int 1"),
    ],
)  # fmt: skip
def test_the_field_and_its_value_are_named_in_one_line(fields, param, text):
    assert explained(**fields) == (f"{param}: {text}", param)


def test_a_long_value_is_cut():
    message, _ = explained(model=[1] * 1000)
    assert len(message) < 100


def test_a_text_of_our_own_stands_for_itself_and_names_its_field():
    error = {"type": "value_error", "loc": ("body", "messages"), "msg": "Value error, x"}
    own = {**error, "ctx": {"error": ValueError("messages[2].role: want a role, got nothing")}}
    assert explain([own], {"messages": []}).param == "messages[2].role"
    other = {**error, "ctx": {"error": ValueError("must not be empty")}}
    assert explain([other], {"messages": []}) == ("messages: must not be empty", "messages")


def test_json_that_breaks_is_told_with_its_place():
    error = {"type": "json_invalid", "loc": ("body", 12), "ctx": {"error": "unexpected end"}}
    assert explain([error], {}) == (
        "body: want JSON, got an error: unexpected end (at character 12)",
        None,
    )


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("messages[0].content: want a text, got int 5", "messages[0].content"),
        ("thinking.keep: want 'all'", "thinking.keep"),
        ("The model: want is all", None),
        ("Messages cannot be empty.", None),
        ("tool: broken", None),
    ],
)
def test_a_field_is_read_only_from_texts_that_name_one(message, param):
    assert param_of(message) == param
