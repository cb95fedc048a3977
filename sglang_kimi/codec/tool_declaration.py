"""The text that declares the tools to the model (FORMAT sections 3.4 and 3.5).

TypeScript where every schema allows it, compact JSON otherwise; `typescript` does the schemas.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .typescript import UnprintableSchemaError, print_function


def tool_declaration(tools: Sequence[Mapping[str, Any]]) -> str:
    """Return the body of the tool_declare turn for a non-empty list of OpenAI tool objects.

    TypeScript if every function's schema can be shown and at least one tool is a function, else the
    whole list as compact JSON with sorted keys. None fields of a tool and of its function are left
    out: they are what a host's model dump puts for absent fields.
    """
    ordered = [_sorted(_without_none(tool)) for tool in tools]
    functions = [tool["function"] for tool in ordered if _is_function(tool)]
    try:
        printed = [print_function(function) for function in functions]
    except UnprintableSchemaError:
        printed = []
    if not printed:
        return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))
    body = "\n".join(printed)
    return f"# Tools\n\n## functions\nnamespace functions {{\n{body}\n}}\n"


def _is_function(tool: Mapping[str, Any]) -> bool:
    return tool.get("type") == "function" and bool(tool.get("function"))


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    return value


def _without_none(tool: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in tool.items() if value is not None}
    function = kept.get("function")
    if isinstance(function, Mapping):
        kept["function"] = {key: value for key, value in function.items() if value is not None}
    return kept
