"""An app like SGLang's answers a request that is not valid in each API's form, for our model."""

import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from sglang_kimi.chat import http_app, protocol, serving
from sglang_kimi.seams import SeamError

protocol.widen()

from sglang.srt.entrypoints.anthropic.protocol import AnthropicMessagesRequest  # noqa: E402
from sglang.srt.entrypoints.openai.protocol import (  # noqa: E402
    ChatCompletionRequest,
    TokenizeRequest,
)

ROLES = ("user", "Critic")


def app_like_sglangs():
    app = FastAPI()

    @app.exception_handler(RequestValidationError)
    @app.exception_handler(HTTPException)
    async def usual(request: Request, error: Exception):
        return JSONResponse({"stock": type(error).__name__}, 418)

    @app.post("/v1/chat/completions")
    async def chat(request: ChatCompletionRequest, raw_request: Request):
        http_app.warn(raw_request, "mind this")
        return [message.role for message in request.messages]

    @app.post("/v1/messages")
    async def messages(request: AnthropicMessagesRequest):
        return [message.role for message in request.messages]

    @app.post("/tokenize")
    async def tokenize(request: TokenizeRequest):
        chat = request.to_chat_completion_request()
        return [message.content for message in chat.messages]

    @app.post("/v1/responses")
    async def responses():
        raise HTTPException(404, "no such response")

    @app.post("/generate")
    async def generate(request: TokenizeRequest):
        return "ok"

    return app


@pytest.fixture(params=[True, False], ids=["ours", "another model"])
def is_ours(request, monkeypatch):
    monkeypatch.setattr(serving, "_is_active", request.param)
    return request.param


@pytest.fixture
def client():
    app = app_like_sglangs()
    http_app.install(app)
    return TestClient(app)


def chat(*messages, **fields):
    return {"model": "m", "messages": list(messages), **fields}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/tokenize"])
def test_a_wrong_field_is_named_in_openais_form(client, is_ours, path):
    answer = client.post(path, json=chat({"role": "user", "content": "a"}, 5))
    if not is_ours:
        assert (answer.status_code, answer.json()) == (418, {"stock": "RequestValidationError"})
        return
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "messages[1]", 400)
    assert error["message"] == "messages[1]: want an object, got int 5"


def test_a_wrong_field_is_named_in_anthropics_form(client, is_ours):
    answer = client.post("/v1/messages", json=chat({"role": "user", "content": 5}, max_tokens=1))
    if not is_ours:
        assert answer.status_code == 418
        return
    assert answer.json() == {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "messages[0].content: want a list or a text, got int 5",
        },
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "body: want an object, got list []"),
        (5, "body: want an object, got int 5"),
        (chat(response_format="x"), "response_format: want an object, got str 'x'"),
    ],
)
def test_a_body_that_is_no_object_is_no_error_of_the_server(client, monkeypatch, body, message):
    monkeypatch.setattr(serving, "_is_active", True)
    answer = client.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)


def test_an_empty_body_is_refused(client, monkeypatch):
    monkeypatch.setattr(serving, "_is_active", True)
    answer = client.post("/v1/chat/completions")
    assert answer.json()["error"]["message"] == "body: want a value, got nothing"


def test_an_error_that_the_host_raised_gets_the_form_too(client, is_ours):
    answer = client.post("/v1/responses")
    if not is_ours:
        assert answer.json() == {"stock": "HTTPException"}
        return
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "no such response"


def test_paths_of_no_clients_api_keep_the_hosts_form(client, monkeypatch):
    monkeypatch.setattr(serving, "_is_active", True)
    assert client.post("/generate", json={"prompt": 5}).status_code == 418


def test_any_role_is_taken_as_it_came_for_our_model_only(client, is_ours):
    messages = [{"role": role, "content": "a"} for role in ROLES]
    for path, fields in (("/v1/chat/completions", {}), ("/v1/messages", {"max_tokens": 1})):
        answer = client.post(path, json=chat(*messages, **fields))
        assert answer.status_code == (200 if is_ours else 418)
        assert not is_ours or answer.json() == list(ROLES)


def test_content_reaches_the_codec_as_it_came(client, monkeypatch):
    monkeypatch.setattr(serving, "_is_active", True)
    content = [None, "a", [], [{"type": "x", "text": "t", "y": None}], 5]
    messages = [{"role": "user", "content": value} for value in content]
    assert client.post("/tokenize", json=chat(*messages)).json() == content


def test_a_warning_is_a_header_of_the_answer_and_of_no_other(client, monkeypatch):
    monkeypatch.setattr(serving, "_is_active", True)
    answer = client.post("/v1/chat/completions", json=chat({"role": "user"}))
    assert answer.headers[http_app.WARNING_HEADER] == "mind this"
    other = client.post("/tokenize", json=chat({"role": "user"}))
    assert http_app.WARNING_HEADER not in other.headers


def test_a_host_that_handles_such_errors_elsewhere_stops_the_start():
    with pytest.raises(SeamError, match=r"SGLang changed .*http_server\.app"):
        http_app.install(FastAPI(exception_handlers={}))
