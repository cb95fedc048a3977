"""Requests of every API with a hostile text in every field of every role, and their prompts.

The frames are written down from the specification; `prompt_frame.TokenTable` holds prompts against
them.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from .hostile_tools import Filling, Tools, json_tools, typescript_tools
from .prompt_frame import Control, Frame, assistant, generation_prompt, turn

_ADDED: Final = {"strict": False}
"""What SGLang adds to the tools of `/v1/messages` and `/v1/responses`, and JSON then shows."""


@dataclass(frozen=True)
class Hostile:
    """A request.

    fields: its messages and tools. frame: the prompt that they must become.
    places: which text stands where; each is a case.
    """

    fields: dict[str, Any]
    frame: Frame
    places: dict[str, str]


def chat(fill: Filling, *, is_json: bool, has_own_ids: bool = False) -> Hostile:
    """Return a request of `/v1/chat/completions`, `/tokenize` and `sglang-kimi render`.

    is_json: declare tools that have no TypeScript. has_own_ids: the prompt keeps the client's ids.
    """
    tools = _tools(fill, is_json)
    messages: list[dict[str, Any]] = []
    frame = tools.frame()
    for role in ("system", "developer"):
        text, name = fill(f"{role}.content"), fill(f"{role}.name")
        parts = [fill(f"{role}.content part {number}") for number in (1, 2)]
        messages.append({"role": role, "content": text})
        messages.append({"role": role, "name": name, "content": _parts(parts)})
        frame += [*turn("system", role, text), *turn("system", name, *parts)]
    text, name = fill("user.content"), fill("user.name")
    parts = [fill(f"user.content part {number}") for number in (1, 2)]
    messages.append({"role": "user", "content": text})
    messages.append({"role": "user", "name": name, "content": _parts(parts)})
    frame += [*turn("user", "user", text), *turn("user", name, *parts)]
    _add_calls(fill, messages, frame, has_own_ids=has_own_ids)
    _add_answer(fill, messages, frame)
    frame += generation_prompt()
    return Hostile({"messages": messages, "tools": tools.nested}, frame, fill.places)


def continued(fill: Filling) -> Hostile:
    """Return a conversation whose last message, an assistant's, is to be gone on with."""
    text, thinking, begun = fill("user.content"), fill("open reasoning"), fill("open content")
    messages = [
        {"role": "user", "content": text},
        {"role": "assistant", "reasoning": thinking, "content": begun},
    ]
    frame = [*turn("user", "user", text), *assistant(thinking, begun)[:-1]]
    return Hostile({"messages": messages, "tools": None}, frame, fill.places)


def any_role(fill: Filling) -> Hostile:
    """Return a conversation whose roles themselves are hostile; only the codec takes such roles."""
    role, text = fill("any role"), fill("any role's content")
    messages = [{"role": role, "content": text}]
    frame = [*turn("system", role, text), *generation_prompt()]
    return Hostile({"messages": messages, "tools": None}, frame, fill.places)


def messages(fill: Filling, *, is_json: bool) -> Hostile:
    """Return a request of `/v1/messages` and its `count_tokens`."""
    tools = _tools(fill, is_json, **_ADDED)
    system = [fill(f"system block {number}") for number in (1, 2)]
    ask = [fill("user.content"), fill("user block 1"), fill("user block 2")]
    thinking, text = fill("thinking"), fill("text")
    call_id, name = fill("tool_use.id"), fill("tool_use.name")
    made = {fill("tool_use.input key"): fill("tool_use.input value")}
    result, lost = fill("tool_result.content"), fill("tool_result.tool_use_id without its call")
    results = [fill(f"tool_result block {number}") for number in (1, 2)]
    last = fill("user.content behind results")
    fields: dict[str, Any] = {
        "system": _parts(system),
        "messages": [
            {"role": "user", "content": ask[0]},
            {"role": "user", "content": _parts(ask[1:])},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": thinking, "signature": fill("signature")},
                    {"type": "text", "text": text},
                    {"type": "tool_use", "id": call_id, "name": name, "input": made},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": call_id, "content": result},
                    {"type": "tool_result", "tool_use_id": lost, "content": _parts(results)},
                    {"type": "text", "text": last},
                ],
            },
        ],
        "tools": tools.anthropic,
    }
    arguments = json.dumps(made, ensure_ascii=False)
    frame = [
        *tools.frame(),
        *turn("system", "system", "\n".join(system)),
        *turn("user", "user", ask[0]),
        *turn("user", "user", *ask[1:]),
        *assistant(thinking, text, (f"functions.{name}:0", arguments)),
        *turn("system", "tool", f"## Return of functions.{name}:0\n", result),
        *turn("system", "tool", f"## Return of {lost}\n", *results),
        *turn("user", "user", last),
        *generation_prompt(),
    ]
    return Hostile(fields, frame, fill.places)


def responses(fill: Filling, *, is_json: bool) -> Hostile:
    """Return a request of `/v1/responses`."""
    tools = _tools(fill, is_json, **_ADDED)
    system, text = fill("instructions"), fill("input system content")
    ask = [fill("input user content"), fill("input_text part 1"), fill("input_text part 2")]
    thinking, said = fill("reasoning summary"), fill("output_text")
    call_id, name = fill("function_call.call_id"), fill("function_call.name")
    arguments = json.dumps({fill("function_call argument key"): fill("argument value")})
    custom_id, custom_name = fill("custom_tool_call.call_id"), fill("custom_tool_call.name")
    patch, patched = fill("custom_tool_call.input"), fill("custom_tool_call_output.output")
    result, lost = fill("function_call_output.output"), fill("call_id without its call")
    fields: dict[str, Any] = {
        "instructions": system,
        "input": [
            {"role": "system", "content": text},
            {"role": "user", "content": ask[0]},
            {"role": "user", "content": _parts(ask[1:], "input_text")},
            {
                "type": "reasoning",
                "id": fill("reasoning.id"),
                "summary": _parts([thinking], "summary_text"),
            },
            {
                "type": "message",
                "role": "assistant",
                "id": fill("message.id"),
                "status": "completed",
                "content": [{"type": "output_text", "text": said, "annotations": []}],
            },
            {
                "type": "function_call",
                "call_id": call_id,
                "name": name,
                "arguments": arguments,
            },
            {
                "type": "custom_tool_call",
                "call_id": custom_id,
                "name": custom_name,
                "input": patch,
            },
            {"type": "custom_tool_call_output", "call_id": custom_id, "output": patched},
            {"type": "function_call_output", "call_id": call_id, "output": result},
            {"type": "function_call_output", "call_id": lost, "output": result},
        ],
        "tools": tools.flat,
    }
    frame = [
        *tools.frame(),
        *turn("system", "system", system),
        *turn("system", "system", text),
        *turn("user", "user", ask[0]),
        *turn("user", "user", *ask[1:]),
        *assistant(
            thinking,
            said,
            (f"functions.{name}:0", arguments),
            (f"functions.{custom_name}:1", json.dumps({"input": patch}, ensure_ascii=False)),
        ),
        *turn("system", "tool", f"## Return of functions.{custom_name}:1\n", patched),
        *turn("system", "tool", f"## Return of functions.{name}:0\n", result),
        *turn("system", "tool", f"## Return of {lost}\n", result),
        *generation_prompt(),
    ]
    return Hostile(fields, frame, fill.places)


def _tools(fill: Filling, is_json: bool, **fields: Any) -> Tools:
    return json_tools(fill, **fields) if is_json else typescript_tools(fill)


def _parts(texts: list[str], kind: str = "text") -> list[dict[str, Any]]:
    return [{"type": kind, "text": text} for text in texts]


def _add_calls(
    fill: Filling,
    messages: list[dict[str, Any]],
    frame: list[Control | str],
    *,
    has_own_ids: bool,
) -> None:
    """Add an assistant's turn with calls, their results, and a result whose call is not there."""
    thinking, content = fill("assistant.reasoning_content"), fill("assistant.content")
    key, value = fill("arguments key"), fill("arguments value")
    written = [
        fill("arguments that are no JSON"),
        json.dumps({key: [value]}, ensure_ascii=False),
        json.dumps({"x": fill("arguments in ASCII")}).replace("<", "\\u003c"),
    ]
    names = [fill(f"call {number}.function.name") for number in range(3)]
    own = [fill(f"call {number}.id") for number in range(2)]
    own.append(f"functions.{names[2]}:2")  # native already
    shown = own if has_own_ids else [f"functions.{n}:{i}" for i, n in enumerate(names)]
    calls = [
        {"id": i, "type": "function", "function": {"name": n, "arguments": a}}
        for i, n, a in zip(own, names, written, strict=True)
    ]
    messages.append(
        {
            "role": "assistant",
            "content": content,
            "reasoning_content": thinking,
            "tool_calls": calls,
        }
    )
    frame += assistant(thinking, content, *zip(shown, written, strict=True))
    for number in (2, 0):
        result = [fill(f"result {number}.content part {part}") for part in (1, 2)]
        messages.append({"role": "tool", "tool_call_id": own[number], "content": _parts(result)})
        frame += turn("system", "tool", f"## Return of {shown[number]}\n", *result)
    name, result_text = fill("result.name"), fill("result.content")
    messages.append({"role": "tool", "tool_call_id": own[1], "name": name, "content": result_text})
    frame += turn("system", name, f"## Return of {shown[1]}\n", result_text)
    lost, result_text = fill("tool_call_id without its call"), fill("content without its call")
    messages.append({"role": "tool", "tool_call_id": lost, "content": result_text})
    frame += turn("system", "tool", f"## Return of {lost}\n", result_text)


def _add_answer(fill: Filling, messages: list[dict[str, Any]], frame: list[Control | str]) -> None:
    """Add an assistant's turn without calls, in the forms that the first one lacks."""
    name, thinking = fill("assistant.name"), fill("assistant.reasoning")
    parts = [fill(f"assistant.content part {number}") for number in (1, 2)]
    messages.append(
        {"role": "assistant", "name": name, "reasoning": thinking, "content": _parts(parts)}
    )
    frame += assistant(thinking, "".join(parts), heading=name)
