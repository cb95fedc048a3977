"""A server without a server: our encoder, ledger and parser behind the SDK's client."""

from types import SimpleNamespace
from typing import Any

from openai.types.chat import ChatCompletion

from sglang_kimi.codec.conversation import ConversationEncoder
from sglang_kimi.codec.ledger import Origin, TurnLedger
from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.parsers.events import collect
from sglang_kimi.parsers.output_parser import OutputParser


class ScriptedServer:
    """Answers as the model of a script does; its cache holds everything but each last token.

    remembers: False leaves turns out of the ledger, as a server without this package does.
    """

    def __init__(self, vocabulary: Vocabulary, *, remembers: bool = True) -> None:
        self.vocabulary = vocabulary
        self.encoder = ConversationEncoder(PromptCodec(vocabulary), TurnLedger())
        self.remembers = remembers
        self.kept: list[list[int]] = []
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self._create))

    def _create(self, *, messages: Any, tools: Any, extra_body: Any, **_: Any) -> ChatCompletion:
        encoded = self.encoder.encode(messages, tools)
        prompt, output = encoded.token_ids, extra_body["custom_params"]["script"]
        cached = max((_num_common(prompt, kept[:-1]) for kept in self.kept), default=0)
        self.kept.append(prompt + output)
        if self.remembers:
            self.encoder.ledger.record(prompt, output, Origin())
        message = self._message(output, tools, encoded.history_call_ids)
        usage = {
            "prompt_tokens": len(prompt),
            "completion_tokens": len(output),
            "total_tokens": len(prompt) + len(output),
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": message,
            "prompt_token_ids": prompt,
        }
        answer = {"id": "x", "created": 0, "model": "m", "object": "chat.completion"}
        return ChatCompletion.model_validate({**answer, "choices": [choice], "usage": usage})

    def _message(self, output: list[int], tools: Any, history_call_ids: Any) -> dict[str, Any]:
        parser = OutputParser(self.vocabulary, tools=tools, history_call_ids=history_call_ids)
        is_cut = output[-1] != self.vocabulary.control_id("<|im_end|>")
        parsed = collect([*parser.feed(output), *parser.finish(is_cut)])
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in parsed.tool_calls
        ]
        return {
            "role": "assistant",
            "content": parsed.content,
            "reasoning_content": parsed.reasoning,
            "tool_calls": calls or None,
        }


def _num_common(one: list[int], other: list[int]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))
