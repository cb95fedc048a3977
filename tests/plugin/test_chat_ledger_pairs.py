"""A prefill and a decode server on one host work on one prompt; two real processes."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from sglang_kimi import environment
from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.mini.tokenizer_files import shipped_file, tokenizer_config

from ..json_process import JsonProcess

PROGRAM = Path(__file__).with_name("pair_process.py")
USER = {"role": "user", "content": "hi"}
END = "<|im_end|>"


@pytest.fixture
def tokenizer(tmp_path):
    ranks = shipped_file("tiktoken.model")
    (tmp_path / "tiktoken.model").write_bytes(ranks)
    config = tokenizer_config(len(ranks.splitlines()))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.fixture
def vocabulary(tokenizer):
    return Vocabulary.load(tokenizer)


@pytest.fixture
def start(tokenizer, monkeypatch):
    """Return what starts a server's history on a ledger's file."""
    with ExitStack() as stack:

        def start(side, file="ledger.sqlite"):
            monkeypatch.setenv(environment.LEDGER_PATH, str(tokenizer / file))
            return stack.enter_context(JsonProcess(PROGRAM, side, tokenizer))

        yield start


def output(vocabulary, thinking, content):
    ids = [i for letter in thinking for i in vocabulary.encode(letter)]  # as no encoder cuts it
    end = [vocabulary.control_id("</think>"), *vocabulary.encode(content)]
    return [*ids, *end, vocabulary.control_id(END)]


def test_both_sides_have_the_same_ids_at_every_turn(start, vocabulary):
    prefill, decode = start("prefill"), start("decode")
    history, reused = [USER], []
    for number in range(8):
        order = (prefill, decode) if number % 2 else (decode, prefill)
        first, second = (side.ask("encode", f"room {number}", history) for side in order)
        assert first == second and first[: len(reused)] == reused
        answer = output(vocabulary, f"secret {number}", f"answer {number}")
        assert decode.ask("record", f"room {number}", answer) is None
        history += [{"role": "assistant", "content": f"answer {number}"}, USER]
        reused = first + answer
    assert prefill.ask("mismatches") == decode.ask("mismatches") == 0


def test_a_turn_recorded_between_the_two_does_not_part_them(start, vocabulary):
    prefill, decode = start("prefill"), start("decode")
    for thinking in ("one", "other"):  # the same words of two agents without a name
        prefill.ask("encode", thinking, [USER])
        decode.ask("encode", thinking, [USER])
        decode.ask("record", thinking, output(vocabulary, thinking, "words"))
        if thinking == "one":
            history = [USER, {"role": "assistant", "content": "words"}, USER]
            first = prefill.ask("encode", "next", history)
    assert "one</think>words" in vocabulary.decode(first)
    assert decode.ask("encode", "next", history) == first
    assert decode.ask("encode", "alone", history) == PromptCodec(vocabulary).encode(history, [])
    assert decode.ask("record", "next", output(vocabulary, "more", "end")) is None


def test_different_requests_in_one_room_are_refused_and_counted(start):
    prefill, decode = start("prefill"), start("decode")
    prompt = prefill.ask("encode", "room", [USER])
    refused = decode.ask("encode", "room", [{"role": "user", "content": "something secret"}])
    assert refused["error"] == "PromptMismatchError"
    assert f"the other one of {len(prompt)}" in refused["message"]
    assert "secret" not in refused["message"]
    assert (prefill.ask("mismatches"), decode.ask("mismatches")) == (0, 1)


def test_servers_with_files_of_their_own_are_found_out_before_the_first_output(start, vocabulary):
    prefill, decode = start("prefill", "one"), start("decode", "other")
    assert prefill.ask("encode", "room", [USER]) == decode.ask("encode", "room", [USER])
    refused = decode.ask("record", "room", output(vocabulary, "a", "b"))
    assert refused["error"] == "PromptMismatchError"
    assert f"want one {environment.LEDGER_PATH} for both" in refused["message"]
    assert decode.ask("mismatches") == 1
