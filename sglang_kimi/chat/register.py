"""What the entry point `kimi_chat` does, in every process of a server.

SGLang's HTTP process needs the adapter, its handlers' hooks and the widened request models; its
schedulers need the parser names and the grammar backend. Everything is registered everywhere: the
modules that are patched are loaded in all of these processes anyway, and a process cannot tell
reliably what it will become.
"""

import os
from typing import Final

from sglang_kimi import environment

from . import (
    defaults,
    grammar_requests,
    history_hooks,
    http_app,
    protocol,
    reasoning_tokens,
    refusal_hooks,
    request_hooks,
    response_hooks,
    responses_items,
)

_WORKER_ENVIRONMENT: Final = {
    "SGLANG_HTTP_SERVER_APP_PATH": "sglang_kimi.chat.worker_app:app",
    "SGLANG_UVICORN_WORKER_HEALTHCHECK_TIMEOUT": "120",  # 10 s kill a worker that still imports
}
"""Where SGLang's tokenizer workers find their app, and how long that may take, in seconds."""


def register() -> None:
    """Register names, encoding, defaults, grammar backend and hooks.

    Raises `sglang_kimi.seams.SeamError` if SGLang is not what we read; SystemExit, which stops the
    start, if an environment variable of ours is wrong.
    """
    try:
        for read in (
            environment.ledger_bytes,
            environment.ledger_max_age_s,
            environment.tool_grammar,
            environment.max_thinking_tokens,
            environment.reasoning_efforts,
        ):
            read()
    except ValueError as error:
        raise SystemExit(f"sglang-kimi: {error}") from error
    protocol.widen()
    defaults.register_names()
    defaults.register_encoding()
    defaults.register_defaults()
    grammar_requests.register()
    reasoning_tokens.register()
    request_hooks.register()
    response_hooks.register()
    history_hooks.register()
    refusal_hooks.register()
    responses_items.register()
    http_app.register()
    for name, value in _WORKER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
