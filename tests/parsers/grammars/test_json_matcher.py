"""One text held to a schema: what passes, what is taken back, and what happens at a limit."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sglang_kimi.parsers.grammars import json_grammar
from sglang_kimi.parsers.grammars.json_close import members
from sglang_kimi.parsers.grammars.json_grammar import JsonGrammar
from sglang_kimi.parsers.grammars.json_schema import write_grammar
from sglang_kimi.parsers.grammars.json_text_state import OUTSIDE
from sglang_kimi.parsers.grammars.masks import is_allowed

SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "mode": {"enum": ["read", "write", 3, None]},
        "edits": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"old": {"type": "string"}, "line": {"type": "integer"}},
                "required": ["old", "line"],
            },
        },
    },
    "required": ["path", "edits"],
}
VALUE = {
    "edits": [{"line": number, "old": f'"é日本😀" \\ / \t {number}'} for number in range(40)],
    "mode": "write",
    "more": {"x": [1.5e3, -0.0, None, True, {}]},
    "path": "",
}


@pytest.fixture(scope="module")
def grammar(driver: Any) -> JsonGrammar:
    return JsonGrammar(driver.masks, write_grammar(SCHEMA, "tool"))


def stop_of(driver: Any) -> int:
    return int(driver.vocabulary.control_id("<|tool_call_end|>"))


class Text:
    """A text in the making, and the ids that may follow."""

    def __init__(self, driver: Any, grammar: JsonGrammar) -> None:
        import torch

        self.driver = driver
        self.matcher = grammar.matcher((stop_of(driver),))
        self.bitmask = torch.zeros((1, driver.masks.num_words), dtype=torch.int32)

    def allowed(self, num_left: int | None = None) -> list[int]:
        import numpy as np

        self.matcher.fill(self.bitmask, 0, num_left)
        row = self.bitmask[0].numpy().view(np.uint8)
        return [int(i) for i in np.flatnonzero(np.unpackbits(row, bitorder="little"))]

    def takes(self, text: str, num_spare: int | None = None) -> bool:
        """Return whether each token is allowed with so many tokens more than are needed."""
        token_ids = [*self.driver.spell(text), stop_of(self.driver)]
        for number, token_id in enumerate(token_ids):
            left = None if num_spare is None else len(token_ids) - number + num_spare
            self.matcher.fill(self.bitmask, 0, left)
            if not is_allowed(self.bitmask[0], token_id) or not self.matcher.accept(token_id):
                return False
        return self.matcher.is_terminated()


def shuffled(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict):
        keys = rng.sample(sorted(value), len(value))
        return {key: shuffled(value[key], rng) for key in keys}
    return [shuffled(item, rng) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("style", [{}, {"indent": 4}, {"separators": (",", ":")}])
@pytest.mark.parametrize("is_ascii", [True, False])
@pytest.mark.parametrize("num_spare", [None, 200, 60])
def test_a_good_text_passes_in_any_spelling_and_key_order(
    driver: Any, grammar: JsonGrammar, style: Any, is_ascii: bool, num_spare: int | None
) -> None:
    value = shuffled(VALUE, random.Random(num_spare))
    text = json.dumps(value, ensure_ascii=is_ascii, **style)
    assert Text(driver, grammar).takes(text, num_spare)


def test_a_string_as_long_as_a_file_passes(mini_driver: Any) -> None:
    written = write_grammar(SCHEMA, "tool")
    code = 'def f(x):\n    return "é" + x\n' * 1000
    text = json.dumps({"edits": [], "path": code}, ensure_ascii=False)
    assert Text(mini_driver, JsonGrammar(mini_driver.masks, written)).takes(text, 100)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_taken_back_was_never_taken(
    driver: Any, grammar: JsonGrammar, data: st.DataObject
) -> None:
    rng = random.Random(data.draw(st.integers(0, 1 << 16)))
    plain, drafted = Text(driver, grammar), Text(driver, grammar)
    num_left = 60
    for _ in range(data.draw(st.integers(1, 40))):
        allowed = plain.allowed(num_left)
        assert drafted.allowed(num_left) == allowed
        num_drafts = 0
        for _ in range(data.draw(st.integers(0, 5))):
            if drafted.matcher.is_terminated():
                break
            assert drafted.matcher.accept(rng.choice(drafted.allowed(num_left - num_drafts)))
            num_drafts += 1
        drafted.matcher.rollback(num_drafts)
        token_id = rng.choice(allowed)
        assert plain.matcher.accept(token_id) and drafted.matcher.accept(token_id)
        num_left -= 1
        if plain.matcher.is_terminated():
            break


def test_texts_of_one_grammar_do_not_touch_each_other(driver: Any, grammar: JsonGrammar) -> None:
    first, second = Text(driver, grammar), Text(driver, grammar)
    for token_id in driver.spell('{"path": "a'):
        assert first.matcher.accept(token_id)
    assert second.takes('{"edits":[],"path":""}')
    assert not first.matcher.accept(driver.spell("\n")[0])
    assert first.takes('", "edits": []}')


def test_a_refused_token_changes_nothing(driver: Any, grammar: JsonGrammar) -> None:
    text = Text(driver, grammar)
    for token_id in driver.spell('{"mode": "re'):
        assert text.matcher.accept(token_id)
    before = text.allowed()
    refused = [*driver.spell("x"), stop_of(driver), driver.vocabulary.control_id("<think>")]
    assert not any(map(text.matcher.accept, refused))
    assert text.allowed() == before


def test_after_the_end_only_what_ends_it_is_left(driver: Any, grammar: JsonGrammar) -> None:
    text = Text(driver, grammar)
    assert text.takes('{"edits":[],"path":""}')
    text.matcher.rollback(1)
    assert text.allowed() == [stop_of(driver)]
    assert text.matcher.is_complete()


def test_padding_ids_of_a_wider_model_are_never_allowed(driver: Any) -> None:
    from sglang_kimi.parsers.grammars import GrammarCompiler

    width = driver.vocabulary.size + 100
    compiler = GrammarCompiler(driver.vocabulary, vocab_size=width)
    text = Text(driver, JsonGrammar(compiler.masks, write_grammar(SCHEMA, "tool")))
    import torch

    text.bitmask = torch.full((1, compiler.masks.num_words), -1, dtype=torch.int32)
    assert max(text.allowed()) < driver.vocabulary.num_ranks


def test_a_limit_of_the_lexer_is_met_by_compiling_anew(
    driver: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limits = {**json_grammar._LIMITS, "max_lexer_states": 260}
    monkeypatch.setattr(json_grammar, "_LIMITS", limits)
    schema = {"type": "array", "items": {"type": "string", "maxLength": 30}}
    grammar = JsonGrammar(driver.masks, write_grammar(schema, "tool"))
    other = Text(driver, grammar)
    assert other.matcher.accept(driver.spell("[")[0])
    words = ["", "abc", "x" * 29, "é" * 20, "日" * 30]
    texts = [json.dumps([word], ensure_ascii=False) for word in words]
    for text in texts:
        assert Text(driver, grammar).takes(text)
    assert "compiled anew" in caplog.text
    assert other.takes('"still here"]')


def test_a_text_that_not_even_a_new_grammar_takes_ends_with_a_word_in_the_log(
    driver: Any, grammar: JsonGrammar, caplog: pytest.LogCaptureFixture
) -> None:
    text = Text(driver, grammar)
    assert text.matcher.accept(driver.spell("{")[0])
    text.matcher._matcher.consume_token(driver.spell("x")[0])  # an error from now on
    text.matcher._token_ids.append(driver.spell("x")[0])
    assert text.allowed() == [stop_of(driver)]
    assert "can't be held to its grammar" in caplog.text
    assert text.matcher.accept(stop_of(driver)) and text.matcher.is_terminated()


@given(st.recursive(st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner)))
def test_the_members_of_an_object_put_together_are_the_object(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    joined = "{" + b",".join(members(text)).decode("utf-8", "surrogatepass") + "}"
    assert joined == (text if isinstance(value, dict) else "{}")


@given(st.lists(st.text()), st.data())
def test_the_place_within_a_string_counts_its_bytes(texts: list[str], data: st.DataObject) -> None:
    whole = json.dumps(texts, ensure_ascii=False).encode("utf-8", "surrogatepass")
    cut = data.draw(st.integers(0, len(whole)))
    place = OUTSIDE.after(whole[:cut]).after(whole[cut:])
    assert place == OUTSIDE
    begun = OUTSIDE.after(b'["ab", "' + whole[:0])
    assert begun.after(b"abc") == (True, False, 3)
    assert begun.after(b'a\\"c').num_bytes == 4


@pytest.mark.parametrize(
    ("number", "begun"),
    [
        ({"type": "number", "minimum": -0.5, "maximum": 1.5}, "2.0"),
        ({"type": "number", "exclusiveMinimum": 2, "maximum": 3}, "2.000"),
        ({"type": "integer", "multipleOf": 4}, "-9999"),
        ({"type": "integer", "minimum": 10**6}, "1"),
        ({"type": "integer"}, "1.55"),
    ],
)
def test_a_begun_number_is_brought_to_its_end_where_room_is_short(
    driver: Any, number: Any, begun: str
) -> None:
    text = Text(driver, JsonGrammar(driver.masks, write_grammar({"items": number}, "tool")))
    token_ids = driver.spell(f"[{begun}")
    assert all(map(text.matcher.accept, token_ids))
    for num_left in range(16, 0, -1):
        token_id = text.allowed(num_left)[0]
        assert text.matcher.accept(token_id)
        token_ids.append(token_id)
        if text.matcher.is_terminated():
            return
    pytest.fail(f"still open: {driver.text(token_ids)}")
