"""Stored responses stay within a limit; what conversations share counts once."""

from types import SimpleNamespace

import pytest

from sglang_kimi.chat import history_hooks
from sglang_kimi.chat.names import ENCODING
from sglang_kimi.chat.response_store import BoundedInputs


def item(text):
    return {"role": "user", "content": text}


def store(max_bytes):
    responses = {}
    return BoundedInputs(responses, max_bytes), responses


def add(inputs, responses, name, items):
    inputs[name] = items
    responses[name] = object()


def test_the_longest_unused_input_goes_first_and_its_response_with_it():
    inputs, responses = store(3_000_000)
    for name in ("a", "b"):
        add(inputs, responses, name, [item(name * 1_000_000)])
    assert inputs["a"]
    add(inputs, responses, "c", [item("c" * 1_000_000)])
    assert set(inputs) == set(responses) == {"a", "c"}
    assert inputs.get("b") is None
    with pytest.raises(KeyError):
        inputs["b"]


def test_what_turns_of_one_conversation_share_counts_once():
    inputs, responses = store(3_000_000)
    history = []
    for number in range(20):
        history = [*history, item("x" * 100_000)]
        add(inputs, responses, str(number), history)
    assert len(inputs) == 20
    assert 2_000_000 < inputs.num_bytes < 3_000_000


def test_a_store_that_is_emptied_counts_nothing():
    inputs, responses = store(50_000)
    shared = item("x" * 1000)
    for number in range(50):
        add(inputs, responses, str(number), [shared, item("y" * number), SimpleNamespace(a="z")])
    assert 1 <= len(inputs) < 5
    assert inputs.num_bytes <= 50_000
    for name in list(inputs):
        inputs._release(name)
    assert (inputs.num_bytes, inputs._shared) == (0, {})


def test_one_input_alone_is_kept_however_long_it_is():
    inputs, responses = store(10)
    for name in ("a", "b"):
        add(inputs, responses, name, [item("x" * 1000)])
    assert set(inputs) == set(responses) == {"b"}


def test_an_input_that_is_replaced_is_counted_once():
    inputs, responses = store(3_000_000)
    add(inputs, responses, "a", [item("x" * 1000)])
    before = inputs.num_bytes
    add(inputs, responses, "a", [item("x" * 1000)])
    assert inputs.num_bytes == before


@pytest.mark.parametrize(("spec", "is_bounded"), [(ENCODING, True), (None, False)])
def test_the_handlers_own_store_is_bounded_for_our_model(spec, is_bounded):
    handler = SimpleNamespace(chat_encoding_spec=spec, msg_store={}, response_store={})
    history_hooks._bound_response_store(None, handler)
    assert isinstance(handler.msg_store, BoundedInputs) is is_bounded
