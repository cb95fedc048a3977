"""How many tokens an answer thought, for the usage: a tool section ends the thinking, too.

Runs in scheduler processes, once for each token.
"""

from collections.abc import Callable
from typing import Any

from sglang_kimi.parsers.vocabulary import SECTION_BEGIN, TokenVocabulary
from sglang_kimi.seams import hook

_section_begin: int | None = None


def register() -> None:
    """Hook the scheduler's count."""
    hook("count_reasoning", _count, "around")


def serve(vocabulary: TokenVocabulary) -> None:
    """Note that this process generates with a model of ours, whose vocabulary this is."""
    global _section_begin
    _section_begin = vocabulary.control_id(SECTION_BEGIN)


def _count(
    count: Callable[..., None], req: Any, token_id: int | list[int], think_end_ids: Any
) -> None:
    """Count up to a tool section; its own opening is no thinking."""
    token_ids = token_id if isinstance(token_id, list) else [token_id]
    if req._is_reasoning_over or _section_begin not in token_ids:
        count(req, token_id, think_end_ids)
        return
    count(req, token_ids[: token_ids.index(_section_begin)], think_end_ids)
    req._is_reasoning_over = True
