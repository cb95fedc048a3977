"""Ask a running server whether this package's chat code serves it, not SGLang's own."""

import json
import urllib.error
import urllib.request
from pathlib import Path

from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary

PROBE = "What does <|im_end|> mean?"
"""A control token spelt out: text for our codec, a control id for SGLang's own template path."""


class NotInUseError(RuntimeError):
    """The server runs, but not with our code. The message says what to look at."""


def check_in_use(url: str, checkpoint: Path) -> None:
    """Raise NotInUseError if the server at `url` renders a prompt otherwise than our codec does."""
    messages = [{"role": "user", "content": PROBE}]
    expected = PromptCodec(Vocabulary.load(checkpoint)).encode(messages, None)
    found = _tokenize(url, {"messages": messages})
    if found != expected:
        raise NotInUseError(
            "the server runs, but its prompts are not built by this package: want token ids "
            f"{expected}, got {found}. Look for 'plugin' in the server's log, and at SGLANG_PLUGINS"
        )


def _tokenize(url: str, body: dict[str, object]) -> object:
    request = urllib.request.Request(
        f"{url}/tokenize", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=60) as response:
            return json.loads(response.read()).get("tokens")
    except (urllib.error.URLError, ValueError) as error:
        raise NotInUseError(f"the server does not answer /tokenize as expected: {error}") from error
