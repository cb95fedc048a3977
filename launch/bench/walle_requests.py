"""The public verifier's schemas as tools: `tool_choice: "required"`, streamed and not."""

import json
from pathlib import Path
from typing import Any, Final

from .tool_requests import ToolRequest

MAX_TOKENS: Final = 2048  # the verifier's own
_SHARED: Final = ("$defs", "definitions")


def read_schemas(folder: Path) -> list[Any]:
    """Return the schemas of a folder's .jsonl files as parameters of tools.

    As the verifier has it, a root that is no object becomes the schema of one property. Raises
    OSError, ValueError.
    """
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.open()]
    return [_parameters(json.loads(line)) for line in lines if line.strip()]


def walle_requests(schemas: list[Any], max_tokens: int = MAX_TOKENS) -> list[ToolRequest]:
    """Return two requests for each schema, one of them streamed."""
    return [
        ToolRequest(
            choice="required",
            tools={f"tool_{number}": schema},
            is_strict=True,
            is_streamed=is_streamed,
            num_earlier_calls=0,
            seed=2 * number + is_streamed,
            max_tokens=max_tokens,
        )
        for number, schema in enumerate(schemas)
        for is_streamed in (False, True)
    ]


def _parameters(schema: Any) -> Any:
    if isinstance(schema, dict):
        if schema.get("type") in ("object", ["object"]) or "properties" in schema:
            return schema
        shared = {key: schema[key] for key in _SHARED if key in schema}
    else:
        shared = {}
    return {"type": "object", "properties": {"value": schema}, "required": ["value"], **shared}
