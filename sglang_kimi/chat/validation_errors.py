"""What is wrong with a request, in one line: pydantic lists an error for each member of a union.

Imports nothing of SGLang and nothing of pydantic: errors are their dictionaries (`exc.errors()`).
"""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

_WANTED: Final = {
    "string": "a text",
    "list": "a list",
    "dict": "an object",
    "model": "an object",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "none": "null",
}
"""By the beginning of pydantic's error type: the value that would be right."""

_LIMITS: Final = {
    "greater_than": ("gt", "a number above"),
    "greater_than_equal": ("ge", "a number of at least"),
    "less_than": ("lt", "a number below"),
    "less_than_equal": ("le", "a number of at most"),
}

Error = Mapping[str, Any]


class Explained(NamedTuple):
    """One line, and the path of the field it is about, None where it is about no field."""

    message: str
    param: str | None


class _Found(NamedTuple):
    path: tuple[str | int, ...]
    depth: int
    error: Error


def explain(errors: Sequence[Error], body: Any) -> Explained:
    """Return the one thing that is wrong with `body`, of which `errors` tells.

    The error that got furthest into the body counts: another member of a union was never meant. Of
    several about the same field, each says what would be right there.
    """
    if not errors:
        return Explained("the request is not valid", None)
    found = [_locate(error, body) for error in errors]
    deepest = max(found, key=lambda entry: (len(entry.path), entry.depth))
    same = [entry.error for entry in found if entry.path == deepest.path]
    path = _text(deepest.path)
    first = deepest.error
    if first["type"] == "json_invalid":
        return Explained(f"body: want JSON, got an error: {_json_error(first)}", None)
    if first["type"] == "missing":
        return Explained(f"{path or 'body'}: want a value, got nothing", path or None)
    if (own := _own_message(first)) is not None:
        param = param_of(own)
        return Explained(own, param) if param else Explained(_with_path(path, own), path or None)
    wanted = " or ".join(sorted({_wanted(error) for error in same}))
    return Explained(f"{path or 'body'}: want {wanted}, got {_shown(first['input'])}", path or None)


def param_of(message: str) -> str | None:
    """Return the field of a message such as `messages[3].content: want …`, None without one."""
    path, colon, rest = message.partition(": ")
    is_path = bool(colon) and rest.startswith("want ") and not any(map(str.isspace, path))
    return path if is_path and path else None


def _locate(error: Error, body: Any) -> _Found:
    """Keep of an error's place what is in the client's body, without pydantic's union names."""
    places = tuple(error.get("loc", ()))
    if places[:1] == ("body",):
        places = places[1:]
    path: list[str | int] = []
    value = body
    for index, place in enumerate(places):
        is_absent = error["type"] == "missing" and index == len(places) - 1
        if _holds(value, place):
            value = value[place]
        elif not is_absent:
            continue
        path.append(place)
    return _Found(tuple(path), len(places), error)


def _holds(value: Any, place: Any) -> bool:
    if isinstance(value, list):
        return isinstance(place, int) and place < len(value)
    return isinstance(value, Mapping) and place in value


def _own_message(error: Error) -> str | None:
    """Return the text of an error that a validator wrote itself."""
    if error["type"] not in ("value_error", "assertion_error"):
        return None
    raised = (error.get("ctx") or {}).get("error")
    return str(raised) if raised is not None else str(error.get("msg", "not valid"))


def _with_path(path: str, text: str) -> str:
    return text if not path or path in text else f"{path}: {text}"


def _wanted(error: Error) -> str:
    kind, context = error["type"], error.get("ctx") or {}
    if kind in ("literal_error", "enum"):
        return f"one of {context['expected']}"
    if kind == "union_tag_invalid":
        return f"a type among {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return "a type"
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        return f"{words} {context[key]}"
    for begin, words in _WANTED.items():
        if kind.startswith(f"{begin}_"):
            return words
    text = str(error.get("msg", "another value"))
    return text[:1].lower() + text[1:]


def _json_error(error: Error) -> str:
    reason = (error.get("ctx") or {}).get("error", "unreadable")
    place = next((place for place in error.get("loc", ()) if isinstance(place, int)), None)
    return str(reason) if place is None else f"{reason} (at character {place})"


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return f"{type(value).__name__} {reprlib.repr(value)}"


def _text(path: Iterable[str | int]) -> str:
    text = ""
    for place in path:
        text += f"[{place}]" if isinstance(place, int) else f".{place}" if text else place
    return text
