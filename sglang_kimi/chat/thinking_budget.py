"""How many tokens an answer may think: this server's addition to all three APIs.

Clients know several names for it. The first source that says something counts: the request's own
budget, the operator's number for the request's effort, the operator's default. Imports no SGLang.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sglang_kimi import environment

MAX_THINKING_TOKENS: Final = "max_thinking_tokens"
"""Our request field: how many tokens the model may think before the thinking is closed."""

TOKEN_BUDGET: Final = "thinking_token_budget"
"""Another server's name for it."""

CUSTOM_BUDGET: Final = "thinking_budget"
"""SGLang's own name for it among a request's `custom_params`."""


def of_request(request: Any) -> int | None:
    """Return the limit that a request asks for itself, None without one.

    Raises ValueError naming the field where a value is no whole number from 0 on, or where two
    fields say different things.
    """
    found: tuple[str, int] | None = None
    for field, value in _asked(request):
        if value is None:
            continue
        budget = _check_count(value, field)
        if found is not None and found[1] != budget:
            raise ValueError(f"{field}: want {found[1]}, as {found[0]} says, got {budget}")
        found = found or (field, budget)
    return None if found is None else found[1]


def of_server(request: Any) -> int | None:
    """Return the operator's limit for a request that asks for none, None without one."""
    effort = getattr(request, "reasoning_effort", None)
    reasoning = getattr(request, "reasoning", None)
    if effort is None and reasoning is not None:
        is_mapping = isinstance(reasoning, Mapping)
        effort = reasoning.get("effort") if is_mapping else getattr(reasoning, "effort", None)
    if isinstance(effort, str):
        budget = environment.reasoning_efforts().get(effort)
        if budget is not None:
            return budget
    return environment.max_thinking_tokens()


def _asked(request: Any) -> Iterator[tuple[str, Any]]:
    extra: Mapping[str, Any] = getattr(request, "model_extra", None) or {}
    for name in (MAX_THINKING_TOKENS, TOKEN_BUDGET):
        yield name, extra.get(name)
    thinking = extra.get("thinking") or getattr(request, "thinking", None)
    if isinstance(thinking, Mapping):
        yield "thinking.budget_tokens", thinking.get("budget_tokens")
    custom = getattr(request, "custom_params", None)
    if isinstance(custom, Mapping):
        yield f"custom_params.{CUSTOM_BUDGET}", custom.get(CUSTOM_BUDGET)


def _check_count(value: Any, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{field}: want a non-negative integer, got {value!r}")
    return value
