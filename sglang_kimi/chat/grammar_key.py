"""How the wish for a grammar travels from SGLang's HTTP process to its scheduler.

SGLang carries one grammar string with a request and shares what was compiled from it between
requests with the same string. Ours says which tools may be called and how; it goes where a
structural tag would. Numbers of one request (the next call's index, the thinking budget) are no
part of it: they go in `custom_params`.
"""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

FIRST_CALL_INDEX: Final = "kimi_first_call_index"
"""Key of `custom_params`: the index of the answer's first tool call."""

_TAG: Final = "kimi_tool_calls"
_INDEX: Final = re.compile(r":([0-9]{1,9})$")


@dataclass(frozen=True)
class ToolCallTag:
    """The calls that an answer may hold; an answer without tools is free after its thinking.

    tools: `name` and `parameters` of each. is_forced: a call must come. name: the one tool that may
    be called. is_parallel: several calls may come. answer: the JSON schema, as text, that the
    content is held to where no call comes; None: it is free.
    """

    tools: tuple[Mapping[str, Any], ...] = ()
    is_forced: bool = False
    name: str | None = None
    is_parallel: bool = True
    answer: str | None = None

    def model_dump(self, *, by_alias: bool = False) -> dict[str, Any]:
        """Return the tag as JSON values; SGLang asks for it as it asks its own tags."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"type": "structural_tag", _TAG: fields}

    def dumps(self) -> str:
        """Return the tag as the string that SGLang carries; equal tags give equal strings."""
        try:
            return orjson.dumps(self.model_dump()).decode()
        except TypeError:  # what orjson has no form for: integers over 64 bits, lone surrogates
            return json.dumps(self.model_dump())


FREE: Final = ToolCallTag().dumps()
"""The string for an answer of which only the thinking is bounded."""


def read_tag(key: Mapping[str, Any]) -> ToolCallTag | None:
    """Return the tag that a parsed grammar string holds, None if it is a client's own tag."""
    fields = key.get(_TAG)
    return None if fields is None else ToolCallTag(**{**fields, "tools": tuple(fields["tools"])})


def next_call_index(call_ids: Sequence[str]) -> int:
    """Return the index after the highest one among the ids of earlier calls, 0 without any.

    The highest and not the number of ids: a compacted history starts in the middle.
    """
    matches = (_INDEX.search(call_id) for call_id in call_ids)
    return max((int(match[1]) + 1 for match in matches if match), default=0)
