"""What an answer breaks of its schemas where the grammar could not hold them: said, never refused.

Each such miss is a line in the response's `warnings` and counts in the metrics.
"""

import logging
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from sglang.srt.runtime_context import get_exec

from . import request_fields, tool_grammar
from .metrics import answer_metrics
from .names import GRAMMAR_BACKEND
from .relaxed_keywords import RelaxedKeywords
from .schema_misses import NotCheckedError, first_miss

logger = logging.getLogger(__name__)

FIELD: Final = "warnings"
"""Our response field, a list of texts; there is none where nothing is to be said."""

_NOT_CHECKED: Final = "unchecked"
"""Label of the metric where a text could not be checked."""

_relaxed = RelaxedKeywords()
_noted: ContextVar[list[str] | None] = ContextVar("noted_warnings", default=None)


class Call(NamedTuple):
    """A finished call, as the client gets it."""

    name: str
    arguments: str


def warnings_of(request: Any, calls: Sequence[Call], content: str | None) -> list[str]:
    """Return what calls and content of an answer break of the schemas that they were held to."""
    found = []
    if calls and tool_grammar.is_held(request):
        schemas = {
            function["name"]: function.get("parameters")
            for function in (tool["function"] for tool in request_fields.tools_of(request))
            if "name" in function
        }
        for index, call in enumerate(calls):
            place = f"tool_calls[{index}] ({call.name})"
            found.append(_warning(place, schemas.get(call.name), call.arguments))
    elif content and not calls:
        found.append(_warning("content", request_fields.answer_schema(request), content))
    return [warning for warning in found if warning is not None]


def note(warnings: Sequence[str]) -> None:
    """Hand the warnings of a streamed chat answer to the stream around it (`noted`)."""
    if (noted := _noted.get()) is not None:
        noted.extend(warnings)


def noted() -> list[str]:
    """Return a list that the warnings of the stream made in this context from now on go into."""
    warnings: list[str] = []
    _noted.set(warnings)
    return warnings


def _warning(place: str, schema: Any, text: str) -> str | None:
    if not isinstance(schema, dict) or not (keywords := _relaxed.of(schema)):
        return None
    if get_exec().kernel.grammar_backend != GRAMMAR_BACKEND:
        return None  # another one has gaps of its own
    try:
        miss = first_miss(schema, keywords, text)
    except NotCheckedError as error:
        answer_metrics().count_miss(_NOT_CHECKED)
        return f"{place}: not checked for {', '.join(sorted(keywords))}, as {error}"
    if miss is None:
        return None
    keyword, what = miss
    logger.info("%s breaks a keyword of its schema that grammars cannot hold: %s", place, keyword)
    answer_metrics().count_miss(keyword)
    return f"{place}: breaks the schema's {what}"
