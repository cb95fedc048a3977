"""Tools with a hostile text in every field, and how they must be declared (FORMAT section 3.5)."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .prompt_frame import Control, turn


class Filling:
    """Deals texts out to the places of one conversation, in order and none twice.

    texts: all different. start: which of them the first place gets.
    """

    def __init__(self, texts: Sequence[str], start: int) -> None:
        self._texts, self._start = texts, start
        self.places: dict[str, str] = {}

    def __call__(self, place: str) -> str:
        """Return the text for a place, whose name must be new."""
        assert place not in self.places and len(self.places) < len(self._texts)
        text = self._texts[(self._start + len(self.places)) % len(self._texts)]
        self.places[place] = text
        return text


@dataclass(frozen=True)
class Tools:
    """Functions in the form that chat has, and the text that must declare them."""

    functions: list[dict[str, Any]]
    declaration: str

    @property
    def nested(self) -> list[dict[str, Any]]:
        """Return the tools as chat has them."""
        return _nested(self.functions)

    @property
    def flat(self) -> list[dict[str, Any]]:
        """Return the tools as `/v1/responses` has them."""
        return [{"type": "function", **function} for function in self.functions]

    @property
    def anthropic(self) -> list[dict[str, Any]]:
        """Return the tools as `/v1/messages` has them."""
        names = {"parameters": "input_schema"}
        return [{names.get(k, k): v for k, v in each.items()} for each in self.functions]

    def frame(self) -> list[Control | str]:
        """Return the declaring turn."""
        return turn("system", "tool_declare", self.declaration)


def typescript_tools(fill: Filling) -> Tools:
    """Return two tools that are declared as TypeScript."""
    name, about = fill("tool.name"), fill("tool.description")
    kind, of_kind = fill("tool.$defs name and $ref"), fill("tool.$defs description")
    key, of_key = fill("tool.$defs property name"), fill("tool.$defs property description")
    one, two = fill("tool.enum value 1"), fill("tool.enum value 2")
    of_list, of_item = fill("tool.array description"), fill("tool.items description")
    needed, default = fill("tool.required property name"), fill("tool.default")
    pattern, extra = fill("tool.pattern"), fill("tool.additionalProperties description")
    fixed, second = fill("tool.enum in anyOf"), fill("tool 2.name")
    item: dict[str, Any] = {
        "type": "object",
        "description": of_item,
        "properties": {needed: {"type": "string", "default": default, "pattern": pattern}},
        "required": [needed],
    }
    parameters = {
        "type": "object",
        "description": fill("tool.parameters description, which is not shown"),
        "$defs": {
            kind: {
                "type": "object",
                "description": of_kind,
                "properties": {key: {"type": "integer", "description": of_key}},
            }
        },
        "properties": {
            "a": {"type": "array", "description": of_list, "items": item},
            "e": {"type": "string", "enum": [one, two]},
            "r": {"$ref": f"#/$defs/{kind}"},
            "u": {"anyOf": [{"enum": [fixed]}, {"type": "null"}]},
            "x": {
                "type": "object",
                "additionalProperties": {"type": "string", "description": extra},
            },
        },
        "required": ["a"],
    }
    shown = f"""\
{_comment(of_kind)}interface {kind} {{
{_comment(of_key, 2)}  {key}?: number
}}
{_comment(about)}type {name} = (_: {{
{_comment(of_list, 2)}  a: Array<
{_comment(of_item, 4)}    {{
      // pattern: {pattern}
      // Default: {json.dumps(default, ensure_ascii=False)}
      {needed}: string
    }}
  >,
  e?: "{one}" | "{two}",
  r?: {kind},
  u?: "{fixed}" | null,
  x?: {{
    [k: string]: string
  }}
}}) => any;
type {second} = (_: {{}}) => any;"""
    functions = [
        {"name": name, "description": about, "parameters": parameters},
        {"name": second, "parameters": {}},
    ]
    return Tools(functions, f"# Tools\n\n## functions\nnamespace functions {{\n{shown}\n}}\n")


def json_tools(fill: Filling, **fields: Any) -> Tools:
    """Return a tool whose schema has no TypeScript, so that the list is declared as JSON.

    fields: more of its function.
    """
    words = {place: fill(f"JSON tool.{place}") for place in ("title", "const", "examples", "key")}
    parameters = {
        "type": "object",
        "title": words["title"],
        "properties": {
            words["key"]: {
                "description": fill("JSON tool.property description"),
                "oneOf": [{"const": words["const"]}, {"enum": [fill("JSON tool.enum value")]}],
                "examples": [{fill("JSON tool.key of an example"): words["examples"]}],
            }
        },
        "required": [words["key"]],
    }
    name, about = fill("JSON tool.name"), fill("JSON tool.description")
    function = {"name": name, "description": about, "parameters": parameters, **fields}
    tools = _nested([function])
    text = json.dumps(tools, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return Tools([function], text)


def _nested(functions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "function", "function": function} for function in functions]


def _comment(text: str, num_blanks: int = 0) -> str:
    """Return a description as comment lines, the last line's end included."""
    return "".join(f"{line}\n" for line in _comment_lines(text, " " * num_blanks))


def _comment_lines(text: str, indent: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield f"{indent}// {line}" if line else ""
