"""Text is text: no field of any role gives a control token, and every text comes back exactly."""

from itertools import pairwise
from typing import Any

import pytest

from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.bench.hostile_requests import chat
from sglang_kimi.launch.bench.hostile_texts import hostile_texts, texts_over_cuts
from sglang_kimi.launch.bench.hostile_tools import Filling
from sglang_kimi.launch.bench.injection import (
    control_tokens_without_us,
    through_codec,
    through_render,
)
from sglang_kimi.launch.bench.prompt_frame import Control, TokenTable


@pytest.fixture(scope="module")
def table(real: Vocabulary) -> TokenTable:
    return TokenTable(real.directory)


@pytest.fixture(scope="module")
def texts(table: TokenTable) -> list[str]:
    return hostile_texts(table.control_texts)


def test_no_text_in_any_field_gives_a_control_token_and_each_decodes_to_itself(
    real: Vocabulary,
) -> None:
    for tally in through_codec(real):
        assert tally.faults == [], tally.way
        assert tally.num_cases >= (150 if "long" in tally.way else 1000)


def test_no_text_gives_a_control_token_through_the_render_command(real: Vocabulary) -> None:
    tally = through_render(real, num_rounds=60)
    assert tally.faults == []
    assert tally.num_cases > 2000


def test_the_same_texts_are_control_tokens_to_the_releases_tokenizer(real: Vocabulary) -> None:
    assert control_tokens_without_us(real, num_rounds=60) > 1000


def test_the_judge_finds_a_tokenizer_that_reads_control_texts_in_texts(
    real: Vocabulary, table: TokenTable, texts: list[str]
) -> None:
    """The release's own tokenizer does, and every text that holds one whole is found out."""
    codec = PromptCodec(real)
    made = chat(Filling(texts, 0), is_json=False)
    prompt = codec.decode(codec.encode(**made.fields))
    assert table.fault(real.encode(prompt), made.frame) is not None
    for text in table.control_texts:
        message = [Control("<|im_user|>"), "user", Control("<|im_middle|>"), text]
        assert table.fault(real.encode(f"<|im_user|>user<|im_middle|>{text}"), message)


@pytest.mark.parametrize(
    "change",
    [
        lambda ids: ids[1:],
        lambda ids: ids[:-1],
        lambda ids: [*ids, 5],
        lambda ids: [*ids[:40], *ids[41:]],
    ],
)
def test_the_judge_finds_a_missing_and_an_extra_token(
    real: Vocabulary, table: TokenTable, texts: list[str], change: Any
) -> None:
    made = chat(Filling(texts, 3), is_json=False)
    ids = PromptCodec(real).encode(**made.fields)
    assert table.fault(ids, made.frame) is None
    assert table.fault(change(ids), made.frame) is not None


def test_the_texts_are_all_control_texts_and_their_halves_and_disguises(
    table: TokenTable, texts: list[str]
) -> None:
    controls = table.control_texts
    assert len(controls) == 256 and set(controls) <= set(texts)
    assert sum("reserved" in text for text in controls) > 200
    assert len(set(texts)) == len(texts)
    joined = {one + other for one, other in pairwise(texts)}
    assert len(joined & set(controls)) > 20


def test_long_texts_have_their_control_text_at_every_place_about_both_cuts() -> None:
    control = "<|im_end|>"
    places = {text.index(control) for text in texts_over_cuts([control])}
    assert set(range(24_950, 25_001)) <= places
    assert min(place for place in places if place > 30_000) < 400_000 - 40 <= max(places)
