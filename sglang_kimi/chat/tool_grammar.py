"""Which of an answer's tool calls are held to their schema, and how the scheduler is told.

The operator chooses by `SGLANG_KIMI_TOOL_GRAMMAR`, a request by `tool_grammar` in its body. SGLang
lets a format and a tool choice exclude each other; ours hold together where no call is forced.
"""

import reprlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sglang_kimi import environment

from .grammar_key import ToolCallTag

FIELD: Final = "tool_grammar"
"""Our request field: `auto`, `forced-only` or `off`."""

_FORMATS: Final = ("json_schema", "regex", "ebnf", "structural_tag")
"""Sampling parameters that hold the content; the last also carries our tag."""


def mode_of(request: Any) -> str:
    """Return which calls are held (`environment.ToolGrammar`); ValueError naming the field."""
    extra: Mapping[str, Any] = getattr(request, "model_extra", None) or {}
    mode = extra.get(FIELD)
    if mode is None:
        return environment.tool_grammar()
    if mode not in environment.TOOL_GRAMMARS:
        want = f"one of {', '.join(environment.TOOL_GRAMMARS)}"
        raise ValueError(f"{FIELD}: want {want}, got {reprlib.repr(mode)}")
    return str(mode)


def held_constraint(request: Any, constraint: Any) -> Any:
    """Return SGLang's constraint of tool calls, None where the request's mode drops it."""
    return constraint if is_held(request) else None


def is_held(request: Any) -> bool:
    """Say whether the calls of a request are held to their schema; ValueError as `mode_of`."""
    mode = mode_of(request)
    return mode == "auto" or (mode == "forced-only" and is_forced(request))


def is_forced(request: Any) -> bool:
    """Say whether a request's tool choice asks for a call: `required` or a named function.

    Of the other choices that `/v1/responses` knows, SGLang makes `auto`.
    """
    effective = getattr(request, "effective_tool_choice", None)
    choice = request.tool_choice if effective is None else effective()
    return choice not in (None, "auto", "none")


def add_tag(params: dict[str, Any], tag: ToolCallTag) -> None:
    """Write the calls' constraint into sampling parameters, beside a format that they hold.

    Calls stay possible beside a JSON format; beside another form the content alone is held, as
    SGLang has it. Raises ValueError where a format meets a forced call.
    """
    formats = [name for name in _FORMATS if params.get(name)]
    if formats and tag.is_forced:
        want = "auto or none beside a response format, regex or ebnf"
        raise ValueError(f"tool_choice: want {want}, got {tag.name or 'required'}")
    if formats == ["json_schema"]:
        tag = replace(tag, answer=params.pop("json_schema"))
    elif formats:
        return
    params["structural_tag"] = tag.dumps()
