"""What must be right about the calls of an answer, whoever or whatever wrote it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .chat_answers import AnsweredCall, ChatAnswer
from .tool_requests import ToolRequest

_SHOWN_CHARS = 160


def faults_of(request: ToolRequest, answer: ChatAnswer, control_texts: Sequence[str]) -> list[str]:
    """Return what is wrong with the answer to a request that asks for a call.

    control_texts: how the vocabulary spells its control tokens.
    """
    if answer.faults:
        return answer.faults
    faults = [*_control_tokens(answer, control_texts), *_ids(request, answer.calls)]
    for number, call in enumerate(answer.calls):
        if request.name not in (None, call.name):
            faults.append(f"call {number} is of {call.name}, want {request.name}")
        if request.is_single and number:
            faults.append("a second call, though calls are not parallel")
    return faults


def is_complete(answer: ChatAnswer) -> bool:
    """Tell whether a call came, and all of it."""
    return bool(answer.calls) and answer.finish_reason == "tool_calls"


def argument_fault(call: AnsweredCall, tools: Mapping[str, Any]) -> str | None:
    """Return why a call's arguments do not satisfy the schema of its tool, None if they do.

    tools: the parameters by name.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for

    if call.name not in tools:
        return f"no tool is named {call.name!r}"
    schema = tools[call.name]
    try:
        value = json.loads(call.arguments)
    except ValueError as wrong:
        return f"no JSON ({wrong}): {call.arguments[:_SHOWN_CHARS]}"
    if not isinstance(value, dict):
        return f"no object: {call.arguments[:_SHOWN_CHARS]}"
    validator = validator_for(schema, default=Draft202012Validator)
    checks = validator(schema, format_checker=validator.FORMAT_CHECKER)
    error = next(checks.iter_errors(value), None)
    return None if error is None else f"{error.json_path}: {error.message[:_SHOWN_CHARS]}"


def _control_tokens(answer: ChatAnswer, control_texts: Sequence[str]) -> list[str]:
    texts = [answer.reasoning, answer.content, *(call.arguments for call in answer.calls)]
    return [f"{t} stands in a field" for t in control_texts if any(t in text for text in texts)]


def _ids(request: ToolRequest, calls: Sequence[AnsweredCall]) -> list[str]:
    wanted = [f"functions.{c.name}:{request.first_index + n}" for n, c in enumerate(calls)]
    got = [call.id for call in calls]
    return [] if got == wanted else [f"want ids {wanted}, got {got}"]
