"""The tools of a request as far as a parser needs them: names, property names, what is required."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .json_text import load_json

ToolChoice = str | Mapping[str, Any] | None

# Shorter names turn up in a foreign id by accident: think of "a" in "call_a1b2".
_MIN_UNDELIMITED_NAME = 3


@dataclass(frozen=True, slots=True)
class DeclaredTool:
    """One declared function."""

    name: str
    properties: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DeclaredTools:
    """The tools that may be called; false where no call is allowed at all (N3)."""

    by_name: Mapping[str, DeclaredTool] = field(default_factory=dict)
    forced_name: str | None = None  # of a named tool_choice, where it is declared

    def __bool__(self) -> bool:
        """Tell whether any call is allowed."""
        return bool(self.by_name)

    def __contains__(self, name: str) -> bool:
        """Tell whether a tool of exactly this name is declared."""
        return name in self.by_name

    def named_inside(self, text: str) -> list[str]:
        """Return the declared names found in a text, the longest where one holds another.

        A name that stands apart (`functions_Bash_0`) counts before one that is part of a word.
        """
        apart = [name for name in self.by_name if _stands_apart(name, text)]
        found = apart or [
            name for name in self.by_name if len(name) >= _MIN_UNDELIMITED_NAME and name in text
        ]
        return [
            name for name in found if not any(name != other and name in other for other in found)
        ]

    def only(self) -> str | None:
        """Return the one tool that can be meant where no name is given, None if there are more."""
        if self.forced_name is not None:
            return self.forced_name
        return next(iter(self.by_name)) if len(self.by_name) == 1 else None

    def best_fit(self, candidates: Iterable[str], arguments: str) -> str | None:
        """Return the candidate whose properties fit a JSON object best, None if two fit alike.

        Arguments that a tool doesn't know and required ones that are missing count against it.
        """
        value = load_json(arguments)
        if not isinstance(value, dict):
            return None
        scores = {name: _fit(self.by_name[name], value.keys()) for name in candidates}
        best = max((score for score in scores.values() if score is not None), default=None)
        names = [name for name, score in scores.items() if score is not None and score == best]
        return names[0] if len(names) == 1 else None


def declared_tools(tools: Sequence[Mapping[str, Any]] | None, choice: ToolChoice) -> DeclaredTools:
    """Read a request's `tools` and `tool_choice`; both chat's nested and the flat form are known.

    An entry without a name declares nothing. `tool_choice: "none"` declares nothing either.
    """
    if choice == "none":
        return DeclaredTools()
    by_name: dict[str, DeclaredTool] = {}
    for tool in tools or ():
        declared = _declared(_function(tool))
        if declared is not None:
            by_name.setdefault(declared.name, declared)
    forced = _function(choice).get("name") if isinstance(choice, Mapping) else None
    is_declared = isinstance(forced, str) and forced in by_name
    return DeclaredTools(by_name, forced if is_declared else None)


def _function(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = entry.get("function")
    return nested if isinstance(nested, Mapping) else entry


def _declared(function: Mapping[str, Any]) -> DeclaredTool | None:
    name = function.get("name")
    if not isinstance(name, str) or not name:
        return None
    schema = function.get("parameters")
    if not isinstance(schema, Mapping):
        return DeclaredTool(name)
    return DeclaredTool(name, _names(schema.get("properties")), _names(schema.get("required")))


def _names(value: Any) -> frozenset[str]:
    return frozenset(map(str, value)) if isinstance(value, Mapping | list | tuple) else frozenset()


def _stands_apart(name: str, text: str) -> bool:
    start = text.find(name)
    while start >= 0:
        end = start + len(name)
        if not text[max(start - 1, 0) : start].isalnum() and not text[end : end + 1].isalnum():
            return True
        start = text.find(name, start + 1)
    return False


def _fit(tool: DeclaredTool, keys: Iterable[str]) -> tuple[int, int] | None:
    given = frozenset(keys)
    known = given & tool.properties
    missing = tool.required - given
    if not known and (given or missing):
        return None
    return -len(given - tool.properties) - len(missing), len(known)
