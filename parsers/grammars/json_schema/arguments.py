"""The schema of a tool's arguments, which are always one JSON object."""

from typing import Any

from .check import SchemaError, check_schema


def arguments_schema(parameters: Any, tool: str) -> Any:
    """Return the schema of a tool's arguments.

    parameters: as declared; None declares a function without parameters.
    Raises SchemaError if they are no schema or don't allow an object.
    """
    if parameters is None:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    check_schema(parameters, tool)
    if isinstance(parameters, bool):
        parameters = {}
    kinds = parameters.get("type", "object")
    listed = [kinds] if isinstance(kinds, str) else kinds
    if not {"object", "any"} & set(listed):
        raise SchemaError(tool, "/type", f"got {kinds!r}, want 'object': arguments are an object")
    return {key: part for key, part in parameters.items() if key != "nullable"} | {"type": "object"}
