"""Input items of `/v1/responses` as chat messages: what SGLang changes in them is put back.

It gives developers the role `system` with a label in front of the text, and past arguments that are
no JSON object become `{}`. The prompt format has the role, and shows arguments as they are.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sglang_kimi.seams import hook

from . import serving


def register() -> None:
    """Hook the conversion of one item."""
    hook("response_item", _keep_item, "around")


def _keep_item(convert: Callable[..., Any], cls: Any, item: Any, **options: Any) -> Any:
    if not serving.is_active() or not isinstance(item, Mapping):
        return convert(cls, item, **options)
    if item.get("role") == "developer" and item.get("type") in (None, "message"):
        message = convert(cls, {**item, "role": "system"}, **options)
        return {**message, "role": "developer"}
    message = convert(cls, item, **options)
    arguments = item.get("arguments")
    if item.get("type") == "function_call" and isinstance(arguments, str):
        message["tool_calls"][0]["function"]["arguments"] = arguments
    return message
