"""What Anthropic's clients put into a request that is no part of the conversation.

Claude Code's first system block tells who pays; older releases change it with every request, and
with it the whole prompt. `redacted_thinking` is another model's, in a form nobody here can read. A
budget of the thinking is held by us, while SGLang would log that nothing holds it.
Imports nothing of SGLang.
"""

from typing import Any, Final

THINKING: Final = "thinking"
"""Extra field under which a request's `thinking` is found as the client sent it."""

_BILLING: Final = "x-anthropic-billing-header:"


def tidy(request: Any) -> None:
    """Take them out of a `/v1/messages` request, in place; `thinking` is put aside whole."""
    request.system = _without_billing(request.system)
    if request.thinking is not None:
        request.model_extra[THINKING] = request.thinking.model_dump(exclude_none=True)
        request.thinking.budget_tokens = None
    for message in request.messages:
        if isinstance(message.content, list):
            message.content = [b for b in message.content if b.type != "redacted_thinking"]


def _without_billing(system: Any) -> Any:
    """Return a system prompt, a text or blocks, without the billing line that begins it."""
    if isinstance(system, str):
        line, _, rest = system.partition("\n")
        return rest if line.startswith(_BILLING) else system
    for block in system or ():
        if block.type == "text":
            block.text = _without_billing(block.text)
    return system
