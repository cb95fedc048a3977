"""The agent loop of the demo: ask, run the tools, hand the results back, and count tokens.

Works against any server with the OpenAI API. It echoes `reasoning_content` with each assistant
message, as K2.7-Code's preserved thinking asks of a client.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .tools import Tool, run_call

SYSTEM = (
    "You are a coding agent. Work with the tools on the project's own files, one step at a time."
)
TASKS = (
    "Find out how this project is laid out and where errors are raised.",
    "Now look at how tokens are counted.",
    "Read one more file and sum up what you have seen.",
)
TURNS_PER_TASK = 4
"""Tool turns and the plain answer that ends them."""
MAX_THINKING_TOKENS = 32
MAX_ANSWER_TOKENS = 48
MAX_CALL_TOKENS = 320


class AgentError(RuntimeError):
    """The server's answer does not let the loop go on; the message says which turn and why."""


@dataclass(frozen=True)
class Turn:
    """One request and its answer. Counts are tokens.

    reusable_tokens: previous prompt and output, the most that the prefix cache can hold of this
                     prompt; 0 in the first turn.
    """

    number: int
    action: str
    prompt_tokens: int
    cached_tokens: int
    reusable_tokens: int
    completion_tokens: int
    wall_s: float

    @property
    def reused_share(self) -> float | None:
        """Share of the reusable tokens that came from the cache; None where nothing is reusable."""
        if not self.reusable_tokens:
            return None
        return self.cached_tokens / min(self.reusable_tokens, self.prompt_tokens)


class AgentLoop:
    """A conversation that grows turn by turn.

    client: an `openai.OpenAI`; model: the name it asks for; tools: what the model may call.
    """

    def __init__(self, client: Any, model: str, tools: Sequence[Tool]) -> None:
        self.client = client
        self.model = model
        self.tools = list(tools)
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": SYSTEM}]
        self.turns: list[Turn] = []

    def run(self, num_turns: int, on_turn: Callable[[Turn], None]) -> list[Turn]:
        """Run `num_turns` turns, calling `on_turn` after each. Raises AgentError."""
        for index in range(num_turns):
            task, step = divmod(index, TURNS_PER_TASK)
            if step == 0:
                self.messages.append({"role": "user", "content": TASKS[task % len(TASKS)]})
            on_turn(self._turn(is_answer=step == TURNS_PER_TASK - 1))
        return self.turns

    def _turn(self, is_answer: bool) -> Turn:
        number, started = len(self.turns) + 1, time.monotonic()
        answer = self.client.chat.completions.create(
            model=self.model,
            messages=self.messages,
            tools=[tool.declaration() for tool in self.tools],
            # Random weights never call a tool by themselves, nor do they ever stop talking.
            tool_choice="auto" if is_answer else "required",
            parallel_tool_calls=False,
            max_tokens=MAX_THINKING_TOKENS + (MAX_ANSWER_TOKENS if is_answer else MAX_CALL_TOKENS),
            extra_body={"max_thinking_tokens": MAX_THINKING_TOKENS},
        )
        wall_s = time.monotonic() - started
        message, calls = answer.choices[0].message, answer.choices[0].message.tool_calls or []
        if not is_answer and not calls:
            raise AgentError(
                f"turn {number}: tool_choice='required', but no call came "
                f"(finish_reason {answer.choices[0].finish_reason!r}, content {message.content!r})"
            )
        self._record(message, calls)
        turn = self._count(
            number, ", ".join(c.function.name for c in calls) or "answer", answer, wall_s
        )
        self.turns.append(turn)
        return turn

    def _record(self, message: Any, calls: Sequence[Any]) -> None:
        """Put the assistant's message, its thinking included, and the tools' results in history."""
        entry: dict[str, Any] = {"role": "assistant", "content": message.content}
        reasoning = getattr(message, "reasoning_content", None)
        if reasoning is not None:
            entry["reasoning_content"] = reasoning
        if calls:
            entry["tool_calls"] = [call.model_dump(exclude_none=True) for call in calls]
        self.messages.append(entry)
        for call in calls:
            result = run_call(self.tools, call.function.name, call.function.arguments)
            self.messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

    def _count(self, number: int, action: str, answer: Any, wall_s: float) -> Turn:
        usage = answer.usage
        details = usage.prompt_tokens_details
        if details is None or details.cached_tokens is None:
            raise AgentError(f"turn {number}: usage without prompt_tokens_details.cached_tokens")
        last = self.turns[-1] if self.turns else None
        return Turn(
            number=number,
            action=action,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=details.cached_tokens,
            reusable_tokens=last.prompt_tokens + last.completion_tokens if last else 0,
            completion_tokens=usage.completion_tokens,
            wall_s=wall_s,
        )
