"""What clients make of an assistant's message before they send it back: equal forms of it."""

import json
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]
Client = Callable[[Message, int], Message]
"""Takes a message as the SDK holds it and the number of its turn; returns what is sent back."""


def as_is(message: Message, turn: int) -> Message:
    """Return the message as the SDK itself writes it."""
    return message


def without(*fields: str) -> Client:
    """Return a client that drops fields."""
    return lambda message, turn: {k: v for k, v in message.items() if k not in fields}


drops_reasoning = without("reasoning", "reasoning_content")


def sends_reasoning(message: Message, turn: int) -> Message:
    """Send the thinking under the name `reasoning` alone."""
    thinking = message.get("reasoning_content")
    return {**drops_reasoning(message, turn), "reasoning": thinking}


def trims(message: Message, turn: int) -> Message:
    """Trim texts, and send null for content that is empty then."""
    trimmed = {k: v.strip() if isinstance(v, str) else v for k, v in message.items()}
    return {**trimmed, "content": trimmed.get("content") or None}


def trims_reasoning(message: Message, turn: int) -> Message:
    """Trim the thinking only."""
    thinking = (message.get("reasoning_content") or "").strip()
    return {**drops_reasoning(message, turn), "reasoning_content": thinking}


def nulls_content(message: Message, turn: int) -> Message:
    """Send null for content that is nothing but blanks."""
    return {
        **message,
        "content": message["content"] if (message["content"] or "").strip() else None,
    }


def in_parts(num_parts: int) -> Client:
    """Return a client that sends the content as so many text parts."""

    def rewrite(message: Message, turn: int) -> Message:
        text = message.get("content") or ""
        size = -(-len(text) // num_parts) or 1
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        return {**message, "content": [{"type": "text", "text": piece} for piece in pieces]}

    return rewrite


def names_itself(message: Message, turn: int) -> Message:
    """Put a name on the assistant's message."""
    return {**message, "name": "helper"}


def renames_calls(make: Callable[[str, int], str]) -> Client:
    """Return a client with call ids of its own: `make` gets an id and a number that is unique."""

    def rewrite(message: Message, turn: int) -> Message:
        return _each_call(message, lambda c, n: {**c, "id": make(c["id"], 100 * turn + n)})

    return rewrite


def sanitizes_ids(message: Message, turn: int) -> Message:
    """Write `functions_Bash_0` for `functions.Bash:0`."""
    make = renames_calls(lambda call_id, _: call_id.replace(".", "_").replace(":", "_"))
    return make(message, turn)


def in_javascript(message: Message, turn: int) -> Message:
    """Parse the arguments and write them anew as JavaScript does."""
    return _each_call(message, lambda c, _: _with_arguments(c, _javascript))


def like_kimi_code(message: Message, turn: int) -> Message:
    """Rewrite as the model's own command-line client was seen to do."""
    message = in_javascript(sanitizes_ids(without("reasoning")(message, turn), turn), turn)
    return {k: v for k, v in message.items() if k != "content" or v}


def _each_call(message: Message, change: Callable[[Message, int], Message]) -> Message:
    if not message.get("tool_calls"):
        return message
    calls = [change(entry, number) for number, entry in enumerate(message["tool_calls"])]
    return {**message, "tool_calls": calls}


def _with_arguments(entry: Message, write: Callable[[Any], str]) -> Message:
    function = entry["function"]
    try:
        arguments = write(json.loads(function["arguments"]))
    except ValueError:  # such a client leaves alone what it cannot parse
        return entry
    return {**entry, "function": {**function, "arguments": arguments}}


def _javascript(value: Any) -> str:
    return json.dumps(_through_floats(value), separators=(",", ":"), ensure_ascii=False)


def _through_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _through_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_through_floats(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 1e15 else number
