"""A chat request through the openai SDK, and what came back, streamed or not, in one form."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .scripted_agent import PROCESSOR


@dataclass
class AnsweredCall:
    """One tool call of an answer, as a client has it in the end."""

    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass
class ChatAnswer:
    """One choice of a response.

    warnings: what the server says that the answer breaks of its schemas. faults: what is wrong with
    the form of the stream, or why there is no answer.
    """

    reasoning: str = ""
    content: str = ""
    calls: list[AnsweredCall] = field(default_factory=list)
    finish_reason: str | None = None
    num_tokens: int = 0
    warnings: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def scripted(script: list[int], *, then_free: bool = False) -> dict[str, Any]:
    """Return fields of a body that let the model say ids; then_free: and what it likes behind."""
    params = {"script": script, "then_free": then_free}
    return {"custom_logit_processor": PROCESSOR, "custom_params": params}


def ask(client: Any, body: Mapping[str, Any], *, is_streamed: bool) -> ChatAnswer:
    """Send a chat request through an `openai.OpenAI`; a refusal is a fault of the answer.

    body: the request's fields; those that the SDK does not know may be among them.
    """
    import openai

    fields = {"model": "kimi", "messages": body["messages"]}
    extra = {name: value for name, value in body.items() if name != "messages"}
    try:
        if not is_streamed:
            return _whole(client.chat.completions.create(**fields, extra_body=extra))
        options = {"stream": True, "stream_options": {"include_usage": True}}
        return _joined(client.chat.completions.create(**fields, **options, extra_body=extra))
    except openai.OpenAIError as error:
        return ChatAnswer(faults=[f"{type(error).__name__}: {error}"])


def _whole(completion: Any) -> ChatAnswer:
    choice = completion.choices[0]
    message = choice.message
    return ChatAnswer(
        reasoning=getattr(message, "reasoning_content", None) or "",
        content=message.content or "",
        calls=[
            AnsweredCall(call.id, call.function.name, call.function.arguments)
            for call in message.tool_calls or ()
        ],
        finish_reason=choice.finish_reason,
        num_tokens=completion.usage.completion_tokens,
        warnings=list(getattr(completion, "warnings", None) or ()),
    )


def _joined(chunks: Iterable[Any]) -> ChatAnswer:
    answer = ChatAnswer()
    for chunk in chunks:
        answer.warnings += getattr(chunk, "warnings", None) or ()
        if chunk.usage:
            answer.num_tokens = chunk.usage.completion_tokens
        for choice in chunk.choices:
            delta = choice.delta
            answer.reasoning += getattr(delta, "reasoning_content", None) or ""
            answer.content += delta.content or ""
            for piece in delta.tool_calls or ():
                _add(answer, piece)
            answer.finish_reason = choice.finish_reason or answer.finish_reason
    return answer


def _add(answer: ChatAnswer, piece: Any) -> None:
    """Add a delta of a call: a new index is the next one and brings id and name, once."""
    if piece.index == len(answer.calls):
        answer.calls.append(AnsweredCall())
        if not piece.id or not piece.function.name:
            answer.faults.append(f"call {piece.index} does not begin with its id and name")
    elif piece.index != len(answer.calls) - 1:
        answer.faults.append(f"a delta of call {piece.index} behind {len(answer.calls)} calls")
        return
    elif piece.id or piece.function.name:
        answer.faults.append(f"id or name of call {piece.index} come again")
    call = answer.calls[-1]
    call.id += piece.id or ""
    call.name += piece.function.name or ""
    call.arguments += piece.function.arguments or ""
