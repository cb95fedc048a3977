"""Golden prompts through the encoder that servers use, whatever its ledger holds of others."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sglang_kimi.codec.conversation import ConversationEncoder
from sglang_kimi.codec.ledger import Origin, TurnLedger
from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary

Golden = dict[str, Any]
Fill = Callable[[ConversationEncoder, list[Golden]], None]

HERE = Origin("tenant", "conversation")
SECRET = "what another agent thought"


def turns_of(encoder: ConversationEncoder, golden: Golden) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the prompt before each assistant's turn, and the turn as one with other thoughts."""
    vocabulary = encoder.vocabulary
    close = vocabulary.control_id("</think>")
    for index, message in enumerate(golden["messages"]):
        if message["role"] == "assistant":
            before = golden["messages"][:index]
            prompt = encoder.encode(before, golden["tools"], HERE).token_ids
            segments = PromptCodec(vocabulary).encode_segments([*before, message], golden["tools"])
            turn = segments[-2].token_ids
            said = turn[turn.index(close) :]
            yield prompt, [*vocabulary.encode_text(SECRET), *said]


def nothing(encoder: ConversationEncoder, goldens: list[Golden]) -> None:
    assert encoder.ledger.num_bytes == 0


def turns_of_another_tenant(encoder: ConversationEncoder, goldens: list[Golden]) -> None:
    for golden in goldens:
        for prompt, output in turns_of(encoder, golden):
            encoder.ledger.record(prompt, output, Origin("another tenant", HERE.hint))


def turns_of_another_conversation(encoder: ConversationEncoder, goldens: list[Golden]) -> None:
    for golden in goldens:
        for prompt, output in turns_of(encoder, golden):
            encoder.ledger.record(prompt, output, Origin(HERE.tenant, "another conversation"))


def other_answers_to_the_same_prompts(encoder: ConversationEncoder, goldens: list[Golden]) -> None:
    vocabulary = encoder.vocabulary
    other = vocabulary.encode(f"{SECRET}</think>Something that no golden says.<|im_end|>")
    for golden in goldens:
        for prompt, _ in turns_of(encoder, golden):
            encoder.ledger.record(prompt, other, HERE)


def the_same_answers_to_other_prompts(encoder: ConversationEncoder, goldens: list[Golden]) -> None:
    for golden in goldens:
        for prompt, output in turns_of(encoder, golden):
            encoder.ledger.record([*prompt[:-1], 5, prompt[-1]], output, HERE)


FILLS: list[Fill] = [
    nothing,
    turns_of_another_tenant,
    turns_of_another_conversation,
    other_answers_to_the_same_prompts,
    the_same_answers_to_other_prompts,
]


def assert_as_specified(encoder: ConversationEncoder, goldens: list[Golden]) -> None:
    vocabulary = encoder.vocabulary
    codec, num_equal = PromptCodec(vocabulary), 0
    for golden in goldens:
        messages, tools = golden["messages"], golden["tools"]
        for _ in range(2):  # encoded, then from the cache
            encoded = encoder.encode(messages, tools, HERE)
            assert encoded.num_spliced_tokens == 0, golden["name"]
            assert encoded.token_ids == codec.encode(messages, tools), golden["name"]
        if vocabulary.decode(encoded.token_ids) == golden["prompt_text"]:  # its call ids are native
            if not golden["name"].startswith("special_tokens_in_text"):
                assert encoded.token_ids == golden["prompt_ids"], golden["name"]
            num_equal += 1
    assert num_equal > 0.8 * len(goldens)


@pytest.mark.parametrize("fill", FILLS)
def test_a_golden_prompt_does_not_depend_on_what_others_generated(
    real: Vocabulary, goldens: list[Golden], fill: Fill
) -> None:
    encoder = ConversationEncoder(PromptCodec(real), TurnLedger())
    fill(encoder, goldens)
    assert encoder.ledger.num_entries > 20 or fill is nothing
    assert_as_specified(encoder, goldens)


def test_a_golden_prompt_is_the_specifications_with_the_ledger_off(
    real: Vocabulary, goldens: list[Golden]
) -> None:
    encoder = ConversationEncoder(PromptCodec(real), TurnLedger(max_bytes=0))
    for golden in goldens:
        for prompt, output in turns_of(encoder, golden):
            encoder.ledger.record(prompt, output, HERE)
    assert encoder.ledger.num_entries == 0
    assert_as_specified(encoder, goldens)


def test_the_same_turns_are_put_back_where_they_are_the_conversations_own(
    real: Vocabulary, goldens: list[Golden]
) -> None:
    encoder = ConversationEncoder(PromptCodec(real), TurnLedger())
    num_restored = 0
    for golden in goldens:
        messages = [
            {key: value for key, value in message.items() if not key.startswith("reasoning")}
            for message in golden["messages"]
        ]
        num_turns = sum(message["role"] == "assistant" for message in messages)
        for prompt, output in turns_of(encoder, {**golden, "messages": messages}):
            encoder.ledger.record(prompt, output, HERE)
        encoded = encoder.encode(messages, golden["tools"], HERE)
        assert real.decode(encoded.token_ids).count(SECRET) == num_turns, golden["name"]
        num_restored += num_turns
    assert num_restored > 20
