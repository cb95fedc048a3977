"""What SGLang's HTTP app does otherwise for our model: errors of validation, warning headers.

The app's module is imported after plugins are loaded, so it cannot be hooked like other seams: it
is changed between its import and its start, in each process that serves it.
"""

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from fastapi import HTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.responses import ORJSONResponse

from sglang_kimi.seams import SEAMS, SeamError, hook

from . import serving
from .validation_errors import Explained, explain

WARNING_HEADER: Final = "x-sglang-kimi-warning"
"""Response header that says what of a request could not be done as asked."""

_OPENAI_PATHS: Final = ("/v1/chat/completions", "/v1/responses", "/v1/tokenize", "/tokenize")
_ANTHROPIC_PATH: Final = "/v1/messages"
_SCOPE_KEY: Final = "sglang_kimi_warning"
_MODULE: Final = "sglang.srt.entrypoints.http_server"

Handler = Callable[[Any, Any], Awaitable[Any]]
Scope = MutableMapping[str, Any]


def register() -> None:
    """Change the app when the server starts; tokenizer workers call `install` themselves."""
    hook("launch", _install_where_served, "before")


def install(app: Any) -> None:
    """Give the app our handlers and the header; before it is started.

    Raises SeamError if SGLang no longer handles these errors itself.
    """
    handlers: dict[Any, Handler] = app.exception_handlers
    for error, build in ((RequestValidationError, _refused), (HTTPException, _failed)):
        if error not in handlers:
            raise SeamError(
                f"SGLang changed {SEAMS['http_app'].target}: it handles no {error.__name__}, "
                f"see {SEAMS['http_app'].used_by}"
            )
        handlers[error] = _for_our_model(build, handlers[error])
    app.add_middleware(_WarningHeaders)


def warn(raw_request: Any, warning: str) -> None:
    """Let the answer to a request carry a warning in its headers."""
    if raw_request is not None:
        raw_request.scope[_SCOPE_KEY] = warning


def _install_where_served(*_: Any, **__: Any) -> None:
    if (module := sys.modules.get(_MODULE)) is not None:  # not there for an Engine without HTTP
        install(module.app)


def _for_our_model(build: Callable[[Any, Any], Any], usual: Handler) -> Handler:
    """Return a handler that asks `build` where our model is served, and else the usual one."""

    async def handle(request: Any, error: Any) -> Any:
        answer = build(request, error) if serving.is_active() else None
        return await usual(request, error) if answer is None else answer

    return handle


def _refused(request: Any, error: Any) -> Any:
    """Return the 400 of a request that is not valid, in its API's form; None for other paths."""
    explained = explain(error.errors(), error.body)
    path = _path(request)
    if path.startswith(_ANTHROPIC_PATH):
        content = {"type": "invalid_request_error", "message": explained.message}
        return ORJSONResponse({"type": "error", "error": content}, 400)
    return _openai_error(explained, 400) if path in _OPENAI_PATHS else None


def _failed(request: Any, error: Any) -> Any:
    """Return the answer to an error that the host raised itself, for the APIs of OpenAI's form."""
    if _path(request) not in _OPENAI_PATHS:
        return None
    return _openai_error(Explained(str(error.detail), None), error.status_code)


def _openai_error(explained: Explained, status: int) -> Any:
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": explained.message, "type": kind, "param": explained.param, "code": status}
    return ORJSONResponse({"error": error}, status)


def _path(request: Any) -> str:
    path: str = request.url.path
    return path.removeprefix(request.scope.get("root_path", ""))


class _WarningHeaders:
    """ASGI middleware: adds the request's warning to the headers of its answer."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        async def send_warned(message: Scope) -> None:
            if message["type"] == "http.response.start" and _SCOPE_KEY in scope:
                header = (WARNING_HEADER.encode(), scope[_SCOPE_KEY].encode())
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        await self._app(scope, receive, send_warned if scope["type"] == "http" else send)
