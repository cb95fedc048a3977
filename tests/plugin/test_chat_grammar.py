"""Grammars reach the scheduler as one string and hold a request's own numbers."""

import json
import threading
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
import torch
from sglang.srt.constrained.base_grammar_backend import InvalidGrammarObject

from sglang_kimi.chat import grammar_backend, grammar_requests
from sglang_kimi.chat.grammar_backend import KimiGrammar, KimiGrammarBackend
from sglang_kimi.chat.grammar_key import (
    FIRST_CALL_INDEX,
    FREE,
    ToolCallTag,
    next_call_index,
    read_tag,
)
from sglang_kimi.codec.vocabulary import Vocabulary

TOOLS = (
    {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}},
    {"type": "function", "function": {"name": "read"}},
)


@pytest.fixture(scope="module")
def vocabulary(mini_checkpoint):
    return Vocabulary.load(mini_checkpoint)


@pytest.fixture(scope="module")
def backend(vocabulary):
    return KimiGrammarBackend(vocabulary, vocabulary.size)


def compiled(backend, kind, text):
    """Return a grammar as the scheduler gets it: by a future first, then from the cache."""
    value, is_cached = backend.get_cached_or_future_value((kind, text), True)
    if not is_cached:
        assert isinstance(value, Future)
        value = value.result()
        backend.set_cache((kind, text), value.copy())
    return value


def request(prompt_ids, *, max_new_tokens=200, custom_params=None, **constraint):
    params = {"json_schema": None, "regex": None, "ebnf": None, "structural_tag": None}
    return SimpleNamespace(
        grammar=None,
        origin_input_ids=prompt_ids,
        sampling_params=SimpleNamespace(
            max_new_tokens=max_new_tokens, custom_params=custom_params, **{**params, **constraint}
        ),
    )


def scheduled(backend, req):
    """Take a request through the grammar manager's steps, hooks included."""
    manager = SimpleNamespace(grammar_backend=backend)
    grammar_requests._ask_for_bounded_thinking(manager, req)
    for kind in ("regex", "structural_tag"):
        if text := getattr(req.sampling_params, kind):
            req.grammar = compiled(backend, kind, text)
    grammar_requests._begin(None, manager, req)
    return req.grammar


def allowed(grammar, vocab_size):
    mask = grammar.allocate_vocab_mask(vocab_size=vocab_size, batch_size=2, device="cpu")
    logits = torch.zeros(2, vocab_size)
    grammar.fill_vocab_mask(mask, 1)
    grammar.apply_vocab_mask(logits=logits, vocab_mask=grammar.move_vocab_mask(mask, "cpu"))
    assert not logits[0].any(), "the row of another request was touched"
    return set(torch.nonzero(logits[1] == 0).flatten().tolist())


def accept(grammar, vocabulary, *pieces):
    for token in (token for piece in pieces for token in vocabulary.encode(piece)):
        grammar.accept_token(token)


@pytest.mark.parametrize(
    ("ids", "index"),
    [
        ([], 0),
        (["functions.a:0", "functions.b:1"], 2),
        (["functions.a:57", "functions.b:3"], 58),
        (["toolu_1", "functions.a"], 0),
    ],
)
def test_the_next_index_is_after_the_highest_of_the_history(ids, index):
    assert next_call_index(ids) == index


def test_the_tag_survives_the_way_through_sglangs_string():
    tag = ToolCallTag(tools=TOOLS, is_forced=True, name="look", is_parallel=False)
    assert read_tag(json.loads(tag.dumps())) == tag
    assert read_tag({"type": "structural_tag", "format": {}}) is None


def test_a_forced_call_gets_the_requests_next_index(backend, vocabulary):
    tag = ToolCallTag(tools=TOOLS, is_forced=True, name="read").dumps()
    think = vocabulary.encode("<think>")
    custom = {FIRST_CALL_INDEX: 7}
    grammar = scheduled(backend, request(think, custom_params=custom, structural_tag=tag))
    opening = ("</think>", "<|tool_calls_section_begin|>", "<|tool_call_begin|>")
    accept(grammar, vocabulary, "hm", *opening, "functions.read:7")
    assert allowed(grammar, vocabulary.size) == {
        vocabulary.control_id("<|tool_call_argument_begin|>")
    }
    again = scheduled(backend, request(think, structural_tag=tag))
    with pytest.raises(ValueError):
        accept(again, vocabulary, "hm", *opening, "functions.read:7")


def test_a_budget_alone_bounds_the_thinking_and_nothing_else(backend, vocabulary):
    req = request(vocabulary.encode("<think>"), custom_params={"thinking_budget": 2})
    grammar = scheduled(backend, req)
    assert req.sampling_params.structural_tag == FREE
    close = vocabulary.control_id("</think>")
    assert len(allowed(grammar, vocabulary.size)) > 1000
    accept(grammar, vocabulary, "a", "b")
    assert allowed(grammar, vocabulary.size) == {close}
    grammar.accept_token(close)
    assert len(allowed(grammar, vocabulary.size)) > 1000


def test_a_request_without_wishes_has_no_grammar(backend, vocabulary):
    assert scheduled(backend, request(vocabulary.encode("<think>"))) is None


def test_another_backend_gets_no_grammar_of_ours(vocabulary):
    req = request(vocabulary.encode("<think>"), custom_params={"thinking_budget": 2})
    grammar_requests._ask_for_bounded_thinking(SimpleNamespace(grammar_backend=object()), req)
    assert req.sampling_params.structural_tag is None


def test_an_answers_format_holds_after_the_thinking(backend, vocabulary):
    req = request(vocabulary.encode("x<think>"), regex="ab", custom_params={"thinking_budget": 1})
    grammar = scheduled(backend, req)
    accept(grammar, vocabulary, "z", "</think>", "a")
    assert allowed(grammar, vocabulary.size) == {vocabulary.encode("b")[0]}


def test_a_format_without_thinking_holds_from_the_first_token(backend, vocabulary):
    grammar = scheduled(backend, request(vocabulary.encode("plain prompt"), regex="b+"))
    assert vocabulary.control_id("</think>") not in allowed(grammar, vocabulary.size)
    assert vocabulary.encode("b")[0] in allowed(grammar, vocabulary.size)


@pytest.mark.parametrize(
    ("prompt", "is_open"),
    [
        ("<|im_assistant|>assistant<|im_middle|><think>", True),
        ("<think>half a thought", True),
        ("<think></think>It is", False),
        ("plain", False),
        ("", False),
    ],
)
def test_where_the_thinking_starts_is_read_from_the_prompt(vocabulary, prompt, is_open):
    ids = vocabulary.encode(prompt)
    assert grammar_requests.ends_in_thinking(ids, vocabulary) is is_open


def test_tokens_taken_back_are_forgotten(backend, vocabulary):
    req = request(vocabulary.encode("<think>"), custom_params={"thinking_budget": 1})
    grammar = scheduled(backend, req)
    before = allowed(grammar, vocabulary.size)
    accept(grammar, vocabulary, "a")
    grammar.rollback(1)
    assert allowed(grammar, vocabulary.size) == before


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("regex", "a(b"),
        ("ebnf", "root ::= missing"),
        ("json", '{"type": 3}'),
        ("json", "{"),
        ("structural_tag", '{"type": "structural_tag", "format": {"type": "no such"}}'),
    ],
)
def test_a_broken_grammar_is_refused_with_its_reason(backend, kind, text):
    value, _ = backend.get_cached_or_future_value((kind, text), True)
    refused = value.result()
    assert not isinstance(refused, KimiGrammar)
    assert refused.error_message


@pytest.mark.parametrize("kind", ["json", "structural_tag"])
def test_the_forms_that_sglang_itself_makes_are_compiled(backend, kind):
    legacy = {
        "type": "structural_tag",
        "structures": [{"begin": "<f>", "schema": None, "end": "</f>"}],
        "triggers": ["<f>"],
    }
    text = "$$ANY$$" if kind == "json" else json.dumps(legacy)
    assert isinstance(compiled(backend, kind, text), KimiGrammar)


def test_flushing_forgets_the_strings(backend):
    compiled(backend, "regex", "flush me")
    assert backend.get_cached_or_future_value(("regex", "flush me"), True)[1]
    backend.reset()
    assert not backend.get_cached_or_future_value(("regex", "flush me"), True)[1]


def test_a_failure_is_not_kept_so_that_a_slow_moment_refuses_one_request_only(backend):
    key = ("regex", "never compiled")
    backend.set_cache(key, InvalidGrammarObject("Grammar preprocessing timed out"))
    value, is_cached = backend.get_cached_or_future_value(key, True)
    assert not is_cached
    assert isinstance(value.result(), KimiGrammar)


def test_a_nul_is_refused_only_in_what_clients_wrote_for_another_library(backend):
    assert isinstance(compiled(backend, "json", json.dumps({"const": "a\0"})), KimiGrammar)
    tag = {"type": "structural_tag", "format": {"type": "const_string", "value": "\0"}}
    for kind, text in [("regex", "a\0"), ("ebnf", 'root ::= "\0"'), ("structural_tag", tag)]:
        text = text if isinstance(text, str) else json.dumps(text)
        refused, _ = backend.get_cached_or_future_value((kind, text), True)
        assert "without NUL" in refused.result().error_message


def test_kept_strings_are_bounded_in_number_and_length(backend, monkeypatch):
    backend.reset()
    monkeypatch.setattr(grammar_backend, "_MAX_KEY_CHARS", 100)
    grammar = compiled(backend, "regex", "a")
    for text in ("b" * 60, "c" * 60, "d" * 30):
        backend.set_cache(("regex", text), grammar)
    kept = [text[0] for _, text in backend._recent]
    assert kept == ["c", "d"]
    backend.reset()
    assert backend._num_key_chars == 0


def test_an_answer_beside_calls_is_held_to_its_format(backend, vocabulary):
    tag = ToolCallTag(tools=TOOLS, answer='{"const": 7}').dumps()
    think = vocabulary.encode("<think>")
    accept(scheduled(backend, request(think, structural_tag=tag)), vocabulary, "</think>", "7")
    section = "<|tool_calls_section_begin|>"
    accept(scheduled(backend, request(think, structural_tag=tag)), vocabulary, "</think>", section)
    with pytest.raises(ValueError):
        accept(scheduled(backend, request(think, structural_tag=tag)), vocabulary, "</think>", "x")


def test_one_requests_long_compile_holds_no_other_up(backend, monkeypatch):
    may_end = threading.Event()
    body = backend._body

    def slow_body(kind, text):
        if text == "slow":
            assert may_end.wait(30)
        return body(kind, text)

    monkeypatch.setattr(backend, "_body", slow_body)
    slow, _ = backend.get_cached_or_future_value(("regex", "slow"), True)
    quick, _ = backend.get_cached_or_future_value(("regex", "quick"), True)
    assert isinstance(quick.result(timeout=30), KimiGrammar)
    assert not slow.done()
    may_end.set()
    assert isinstance(slow.result(timeout=30), KimiGrammar)
