"""What clients make of a history by cutting and rewriting it is rendered, and counted once."""

import pytest

from sglang_kimi.codec.odd_history import KINDS
from sglang_kimi.codec.prompt import PromptCodec

USER = {"role": "user", "content": "hi"}


def calls(*ids, arguments="{}"):
    function = {"name": "f", "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"id": i, "function": function} for i in ids]}


def result(call_id):
    return {"role": "tool", "tool_call_id": call_id, "content": "r"}


ODD = {
    "arguments": [USER, calls("a", arguments='{"b": ')],
    "result_without_call": [result("a"), USER],
    "repeated_id": [calls("a"), result("a"), calls("a"), result("a")],
    "role": [{"role": "critic", "content": "c"}],
}


def test_every_kind_has_an_example():
    assert set(ODD) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_an_odd_thing_is_rendered_and_counted_once_while_its_history_grows(encoder, small, kind):
    for history in (ODD[kind], [*ODD[kind], USER]):
        prompt = encoder.encode(history, None).token_ids
        assert prompt == PromptCodec(small).encode(history)
        assert encoder.odd_history.counts == {kind: 1}


def test_ids_of_one_turn_that_repeat_are_counted(encoder):
    encoder.encode([calls("a", "a"), result("a"), result("a")], None)
    assert encoder.odd_history.counts == {"repeated_id": 1}


def test_a_usual_history_has_nothing_odd(encoder):
    system = {"role": "system", "content": "s"}
    history = [system, USER, calls("a", "b"), result("b"), result("a"), system, USER, calls("c")]
    encoder.encode([*history, result("c")], None)
    assert not encoder.odd_history.counts
