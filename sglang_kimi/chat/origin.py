"""Who asks: which requests may share what was generated, and which belong to one conversation.

Reads SGLang's request objects and HTTP headers, imports nothing of SGLang. Keys and identifiers are
hashed before anything is kept: what remains says only whether two requests agree.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from sglang_kimi.codec.ledger import Origin

_SESSION_HEADERS: Final = (
    "x-claude-code-session-id",
    "session_id",
    "session-id",
    "conversation_id",
    "x-session-id",
    "x-session-affinity",
)
"""Headers in which agents name their session; the first that is there counts."""

_DIGEST_BYTES: Final = 16


def origin_of(
    request: Any, headers: Mapping[str, str], *, response_chain: str | None = None
) -> Origin:
    """Return tenant and conversation of a request.

    request:        any of SGLang's request objects of the three APIs.
    headers:        the HTTP headers, looked up in lower case.
    response_chain: what stands for the conversation of `/v1/responses` if nothing better does.

    The tenant is made of everything that keeps prompts apart: `cache_salt`, `extra_key` and the API
    key, whichever header it came in. It is empty where there is none of them.
    """
    secrets = [
        _field(request, "cache_salt"),
        _field(request, "extra_key"),
        _api_key(headers),
    ]
    given = _conversation(request, headers)
    hint = given or response_chain
    return Origin(
        tenant=_digest(secrets) if any(secrets) else "",
        hint=_digest(hint) if hint else None,
        is_hint_given=given is not None,
    )


def room_of(request: Any, headers: Mapping[str, str]) -> tuple[str | None, str] | None:
    """Return what a prefill and a decode server share a request by, None where they do not.

    That is the prefill server's host, and a name that the request has on both.
    """
    host, port, room = (
        headers.get(f"x-override-{name.replace('_', '-')}", _field(request, name))
        for name in ("bootstrap_host", "bootstrap_port", "bootstrap_room")
    )
    if room is None:
        return None
    return host, _digest([str(host), str(port), str(room)])


def _conversation(request: Any, headers: Mapping[str, str]) -> str | None:
    """Return the first name of the conversation that a client gives, the most exact one first."""
    metadata = _field(request, "metadata")
    user_id = metadata.get("user_id") if isinstance(metadata, Mapping) else None
    names = (
        _field(request, "prompt_cache_key"),
        *(headers.get(header) for header in _SESSION_HEADERS),
        _field(request, "session_id"),
        user_id,
    )
    return next((name for name in names if isinstance(name, str) and name), None)


def _api_key(headers: Mapping[str, str]) -> str | None:
    """Return the key without its scheme: a client may use one API with each of the headers."""
    key = headers.get("authorization") or headers.get("x-api-key")
    if key and key[:7].lower() == "bearer ":
        key = key[7:].strip()
    return key or None


def _field(request: Any, name: str) -> Any:
    """Return a declared field or one that SGLang's model does not know; None if absent."""
    extra: Mapping[str, Any] = getattr(request, "model_extra", None) or {}
    return extra[name] if name in extra else getattr(request, name, None)


def _digest(value: Any) -> str:
    text = json.dumps(value, default=str).encode()
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()
