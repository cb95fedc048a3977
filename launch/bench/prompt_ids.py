"""What a server's prompt really was: its token ids, as the server returns them."""

from collections.abc import Sequence
from typing import Any, Final

from .scripted_agent import ScriptError

RETURN_IDS: Final = {"return_token_ids": True}
"""Fields of a request whose answer brings the ids of its prompt."""


def prompt_ids_of(answer: Any) -> list[int]:
    """Return the prompt's ids of a chat completion asked with RETURN_IDS. ScriptError."""
    ids = getattr(answer.choices[0], "prompt_token_ids", None)
    if not ids or len(ids) != answer.usage.prompt_tokens:
        raise ScriptError(
            f"choices[0].prompt_token_ids: want {answer.usage.prompt_tokens} ids, got {ids!r:.200}"
        )
    return list(ids)


def contains(ids: Sequence[int], part: Sequence[int]) -> bool:
    """Tell whether `part` stands in `ids` as it is."""
    first, length = part[0], len(part)
    return any(
        token_id == first and list(ids[start : start + length]) == list(part)
        for start, token_id in enumerate(ids)
    )
