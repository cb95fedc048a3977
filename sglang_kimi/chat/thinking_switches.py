"""Requests to think less or to forget thinking: this model does neither.

It has no mode without thinking, and its prompts hold the thinking of all earlier turns. Clients
that ask for an answer without thinking by habit are served all the same and told by a header; what
would change the history is refused, since the answers would be worse without a sign of it.
Imports nothing of SGLang.
"""

from collections.abc import Mapping
from typing import Any, Final

from . import request_fields

ALWAYS_THINKS: Final = (
    "thinking cannot be turned off: this model always thinks; max_thinking_tokens bounds it"
)
"""The warning of a request that asks for an answer without thinking."""

KEEPS_THINKING: Final = "context_management: earlier thinking is kept, as this model needs it"
"""The warning of an Anthropic request that wants earlier thinking cleared by the server."""

FIELDS: Final = ("preserve_thinking", "clear_thinking", "context_management")
"""Fields of ours and of other servers that say what becomes of earlier thinking."""

_WRONG: Final = {"preserve_thinking": False, "clear_thinking": True}
_RIGHT: Final = {"preserve_thinking": "true", "clear_thinking": "false"}
_REASON: Final = ", as this model's prompts hold the thinking of all earlier turns"


def check_history_kept(request: Any) -> None:
    """Raise ValueError, a 400, where a request wants its earlier thinking left out."""
    for where, fields in _places(request):
        for key, wrong in _WRONG.items():
            if fields.get(key) is wrong:
                want = f"{_RIGHT[key]} or nothing{_REASON}"
                raise ValueError(f"{where}{key}: want {want}, got {str(wrong).lower()}")
    thinking = _field(request, "thinking")
    keep = thinking.get("keep") if isinstance(thinking, Mapping) else None
    if keep not in (None, "all"):
        raise ValueError(f"thinking.keep: want 'all' or nothing{_REASON}, got {keep!r}")


def warning_of(request: Any) -> str | None:
    """Return what the client has to be told, None for a usual request."""
    warnings = []
    if request_fields.asks_for_instant_mode(request) or any(
        _is_off(_field(request, name)) for name in ("thinking", "reasoning")
    ):
        warnings.append(ALWAYS_THINKS)
    if _clears_thinking(_field(request, "context_management")):
        warnings.append(KEEPS_THINKING)
    return "; ".join(warnings) or None


def _places(request: Any) -> list[tuple[str, Mapping[str, Any]]]:
    kwargs = getattr(request, "chat_template_kwargs", None)
    top = {key: _field(request, key) for key in _WRONG}
    return [("", top), ("chat_template_kwargs.", kwargs if isinstance(kwargs, Mapping) else {})]


def _is_off(switch: Any) -> bool:
    if not isinstance(switch, Mapping):
        return switch is False
    return switch.get("type") == "disabled" or switch.get("enabled") is False


def _clears_thinking(management: Any) -> bool:
    edits = management.get("edits") if isinstance(management, Mapping) else None
    return any(
        isinstance(edit, Mapping)
        and str(edit.get("type", "")).startswith("clear_thinking")
        and edit.get("keep") != "all"
        for edit in (edits if isinstance(edits, list) else ())
    )


def _field(request: Any, name: str) -> Any:
    extra: Mapping[str, Any] = getattr(request, "model_extra", None) or {}
    return extra[name] if name in extra else getattr(request, name, None)
