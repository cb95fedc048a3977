"""Random conversations and outputs, and a client that writes its history anew each turn."""

import json
import random
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sglang_kimi.codec.ledger import Origin
from sglang_kimi.codec.vocabulary import Vocabulary

from .agent_loop import TOOLS, AgentLoop, Message, _like_javascript, new_encoder
from .test_conversation_reuse import CUTS, OUTPUTS, output_ids, outputs, written

# Ways to write the same field: a client may take any of each, at once, and others the next time.

REASONING: list[Callable[[str], Message]] = [
    lambda text: {"reasoning_content": text},
    lambda text: {"reasoning": text},
    lambda text: {"reasoning": text, "reasoning_content": text},
    lambda text: {"reasoning": None, "reasoning_content": text.strip()},
    lambda text: {"reasoning": "", "reasoning_content": None},
    lambda text: {},
]
CONTENT: list[Callable[[str], Message]] = [
    lambda text: {"content": text},
    lambda text: {"content": text.strip()},
    lambda text: {"content": f"\n{text}  "},
    lambda text: {"content": text if text.strip() else None},
    lambda text: {"content": text} if text.strip() else {},
    lambda text: {"content": [{"type": "text", "text": text, "cache_control": {}}]},
    lambda text: {"content": [{"type": "text", "text": part} for part in halves(text)]},
]
CALL_IDS: list[Callable[[str, int], str]] = [
    lambda call_id, number: call_id,
    lambda call_id, number: call_id.replace(".", "_").replace(":", "_") + f"_{number}",
    lambda call_id, number: f"call_{number:024x}",
    lambda call_id, number: f"toolu_{number}",
    lambda call_id, number: f"functions.other:{number}",
]
ARGUMENTS: list[Callable[[Any], Any]] = [
    _like_javascript,
    json.dumps,
    lambda value: json.dumps(value, indent=2, sort_keys=True),
    lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False),
    lambda value: f"  {json.dumps(dict(reversed(value.items())))}\n",
    lambda value: value,
]
EXTRAS: list[Message] = [
    {},
    {"name": "kimi"},
    {"refusal": None, "annotations": [], "provider_specific_fields": {"x": 1}},
    {"id": "msg_1", "type": "message", "cache_control": {"type": "ephemeral"}},
]


def halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


class Client:
    """A history that is written anew, in other equal forms, at every request.

    turns: what was generated, as the client got it, each with the messages that followed it.
    """

    def __init__(self, begin: list[Message]) -> None:
        self.begin = begin
        self.turns: list[tuple[Message, list[Message]]] = []

    def history(self, chance: random.Random) -> list[Message]:
        """Return the messages, in forms that `chance` takes."""
        messages = [self._other(message, chance) for message in self.begin]
        num_calls = 0
        for shown, behind in self.turns:
            ids, names = chance.choice(CALL_IDS), []
            for call in shown["tool_calls"]:
                names.append(ids(call["id"], num_calls))
                num_calls += 1
            messages.append(self._answer(shown, names, chance))
            for number, name in enumerate(names):
                messages.append({"role": "tool", "tool_call_id": name, "content": f"r{number}"})
            messages += [self._other(message, chance) for message in behind]
        return messages

    def _answer(self, shown: Message, ids: list[str], chance: random.Random) -> Message:
        calls = []
        for call, call_id in zip(shown["tool_calls"], ids, strict=True):
            function = {"name": call["function"]["name"]}
            function["arguments"] = self._arguments(call["function"]["arguments"], chance)
            calls.append({"type": "function", "id": call_id, "function": function})
        message = {
            **chance.choice(EXTRAS),
            **chance.choice(CONTENT)(shown["content"]),
            **({"tool_calls": calls} if calls else chance.choice([{}, {"tool_calls": None}])),
            **chance.choice(REASONING)(shown["reasoning_content"]),
            "role": "assistant",
        }
        return dict(chance.sample(list(message.items()), len(message)))

    def _arguments(self, text: str, chance: random.Random) -> Any:
        try:
            value = json.loads(text)
        except ValueError:
            return text
        return (
            chance.choice([*ARGUMENTS, lambda _: text])(value) if isinstance(value, dict) else text
        )

    def _other(self, message: Message, chance: random.Random) -> Message:
        text = message["content"]
        parts = [{"type": "text", "text": part} for part in halves(text)]
        return {**message, "content": chance.choice([text, parts]), "unknown": chance.random()}


texts = st.text(max_size=8)
others = st.lists(
    st.builds(
        lambda role, name, text: {"role": role, "name": name, "content": text},
        st.sampled_from(["user", "system", "developer"]),
        st.sampled_from([None, "n"]),
        texts,
    ),
    max_size=2,
)
pieces = st.one_of(
    st.integers(0, 257),
    st.sampled_from(
        [258 + offset for offset in (3, 4, 10, 11, 12, 13, 14, 15, 17, 22, 23, 23, 255)]
    ),
)
"""Ids of the small vocabulary: bytes that are no text, and any control token that stops nothing."""


generations = st.one_of(
    st.tuples(st.just("written"), outputs, st.integers(0, 3)),
    st.tuples(st.just("listed"), st.sampled_from(sorted(OUTPUTS)), st.just(0)),
    st.tuples(st.just("cut"), st.sampled_from(sorted(CUTS)), st.just(1)),
    st.tuples(st.just("noise"), st.lists(pieces, min_size=1, max_size=12), st.integers(0, 1)),
)
"""How an output came about, what of, and how many of its last ids a limit cut."""


def generated(vocabulary: Vocabulary, generation: Any) -> list[int]:
    kind, value, num_cut = generation
    if kind == "written":
        ids = written(vocabulary, value)
        return ids[: max(len(ids) - num_cut, 1)]
    if kind == "listed":
        return output_ids(vocabulary, value)
    return vocabulary.encode(CUTS[value]) if kind == "cut" else list(value)


@settings(max_examples=120)
@given(
    begin=others,
    tools=st.sampled_from([None, TOOLS]),
    turns=st.lists(st.tuples(generations, others), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
)
def test_the_prompt_begins_with_all_that_was_before_however_the_history_is_written(
    small: Vocabulary, begin: list[Message], tools: Any, turns: list[Any], seed: int
) -> None:
    chance = random.Random(seed)
    loop = AgentLoop(new_encoder(small), small, origin=Origin("t", "h"), tools=tools or [])
    client = Client([{"role": "user", "content": "do it"}, *begin])
    for generation, behind in turns:
        loop.messages = client.history(chance)
        shown = loop.generate(generated(small, generation), is_cut=generation[2] > 0)
        client.turns.append((shown, behind))
        prompts = []
        for _ in range(3):
            loop.messages = client.history(chance)
            prompts.append(loop.prompt().token_ids)
            assert loop.is_kept
        assert prompts[0] == prompts[1] == prompts[2]
