"""JSON schemas made ready for xgrammar."""

from collections.abc import Mapping
from typing import Any


class SchemaError(ValueError):
    """A tool's schema is broken; the client must mend it (HTTP 400).

    tool: the tool's name. path: JSON pointer within the schema, empty for its root.
    """

    def __init__(self, tool: str, path: str, problem: str) -> None:
        super().__init__(f"tool {tool!r}, schema at {path or '/'}: {problem}")
        self.tool = tool
        self.path = path


def arguments_schema(parameters: Any, tool: str) -> Any:
    if parameters is None:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    return parameters


def prepare_schema(schema: Any, owner: str) -> Any:
    if not isinstance(schema, Mapping | bool):
        raise SchemaError(owner, "", "bad")
    return schema
