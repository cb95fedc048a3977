"""The adapter's prompts go on from generated turns, whoever sends them back in whatever form."""

import json
from types import SimpleNamespace

import pytest

from sglang_kimi import environment
from sglang_kimi.chat import metrics, protocol, request_scope, serving
from sglang_kimi.codec import prefix_walk
from sglang_kimi.codec.ledger import Origin
from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.mini.tokenizer_files import shipped_file, tokenizer_config

protocol.widen()

from sglang.srt.entrypoints.openai.protocol import ChatCompletionRequest  # noqa: E402

from sglang_kimi.chat import history as history_module  # noqa: E402
from sglang_kimi.chat import register, request_hooks  # noqa: E402
from sglang_kimi.chat.adapter import KimiChatAdapter  # noqa: E402
from sglang_kimi.chat.history import History, history_of  # noqa: E402
from sglang_kimi.chat.names import ENCODING  # noqa: E402

USER = {"role": "user", "content": "hi"}
ANSWER = ("secret thinking", "</think>", "an ans", "wer", "<|im_end|>")
ECHO = {"role": "assistant", "content": "an answer"}


@pytest.fixture
def vocabulary(tmp_path):
    ranks = shipped_file("tiktoken.model")
    (tmp_path / "tiktoken.model").write_bytes(ranks)
    config = tokenizer_config(len(ranks.splitlines()))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return Vocabulary.load(tmp_path)


@pytest.fixture
def adapter(vocabulary):
    return KimiChatAdapter(vocabulary, SimpleNamespace(), owns_output=True)


@pytest.fixture(autouse=True)
def our_model_is_served(monkeypatch):
    monkeypatch.setattr(serving, "_is_active", True)


def chat(*messages, **fields):
    return ChatCompletionRequest(model="m", messages=list(messages), **fields)


NOBODY = Origin()


def encode(adapter, request, origin=NOBODY):
    """Return prompt and turn as the hooks and SGLang get them."""
    with request_scope.entered(origin) as scope:
        ids = adapter.encode_messages(
            messages=[], request=request, tools=None, thinking=True, image_data=[]
        )
    return ids, scope.turn


def output(vocabulary, pieces=ANSWER):
    # Letter by letter: no encoder cuts a text so, and still the ids must come back.
    ids = []
    for piece in pieces:
        is_control = piece in ("</think>", "<|im_end|>")
        ids += [vocabulary.control_id(piece)] if is_control else letters(vocabulary, piece)
    return ids


def letters(vocabulary, text):
    return [token for letter in text for token in vocabulary.encode(letter)]


def test_the_next_prompt_begins_with_prompt_and_output(adapter, vocabulary):
    prompt, turn = encode(adapter, chat(USER))
    turn.record(output(vocabulary))
    following, _ = encode(adapter, chat(USER, ECHO, USER))
    assert following[: len(prompt) + len(output(vocabulary))] == prompt + output(vocabulary)


def test_a_recorded_answer_is_read_before_the_next_prompt_asks(adapter, vocabulary, monkeypatch):
    _, turn = encode(adapter, chat(USER))
    turn.record(output(vocabulary))
    history_of(vocabulary).settle()

    def fail(*_, **__):
        raise AssertionError("the answer was parsed while the prompt waited")

    monkeypatch.setattr(prefix_walk, "read_generated", fail)
    ids, _ = encode(adapter, chat(USER, ECHO, USER))
    assert ids[: len(turn.prompt_ids)] == turn.prompt_ids
    assert ids[len(turn.prompt_ids) :][: len(output(vocabulary))] == output(vocabulary)


def test_another_tenant_gets_its_own_words_only(adapter, vocabulary):
    _, turn = encode(adapter, chat(USER), Origin("one"))
    turn.record(output(vocabulary))
    for origin in (Origin("other"), Origin()):
        following, _ = encode(adapter, chat(USER, ECHO, USER), origin)
        assert "secret" not in vocabulary.decode(following)


def test_all_adapters_of_a_process_share_one_history(adapter, vocabulary):
    prompt, turn = encode(adapter, chat(USER))
    turn.record(output(vocabulary))
    other = KimiChatAdapter(vocabulary, SimpleNamespace(), owns_output=True)
    following, _ = encode(other, chat(USER, ECHO, USER))
    assert following[: len(prompt) + len(output(vocabulary))] == prompt + output(vocabulary)


def test_the_parser_knows_the_calls_that_the_model_wrote(adapter, vocabulary):
    pieces = [
        "<|tool_calls_section_begin|>",
        "<|tool_call_begin|>",
        "functions.look:7",
        "<|tool_call_argument_begin|>",
        '{"a": 1}',
        "<|tool_call_end|>",
        "<|tool_calls_section_end|>",
        "<|im_end|>",
    ]
    ids = [token for piece in ("</think>", *pieces) for token in _encode(vocabulary, piece)]
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    _, turn = encode(adapter, chat(USER, tools=[tool]))
    turn.record(ids)
    call = {"id": "call_x", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    call["function"]["arguments"] = '{"a":1}'
    echo = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "call_x", "content": "r"}
    request = chat(USER, echo, result, tools=[tool])
    encode(adapter, request)
    assert request.chat_template_kwargs["kimi_history_call_ids"] == ["functions.look:7"]


def _encode(vocabulary, piece):
    is_control = piece.startswith("<|") or piece == "</think>"
    return [vocabulary.control_id(piece)] if is_control else vocabulary.encode(piece)


def test_an_answer_that_continues_a_message_is_no_turn_of_its_own(adapter):
    _, turn = encode(adapter, chat(USER, ECHO, continue_final_message=True))
    assert turn is None


def test_a_ledger_of_zero_bytes_remembers_nothing(vocabulary):
    history = History(vocabulary, None, metrics.prompt_metrics())
    with request_scope.entered(Origin()) as scope:
        history.encode([USER], [], continue_final_message=False)
    assert scope.turn is None


def test_the_limit_is_the_environments(vocabulary, monkeypatch):
    monkeypatch.setenv(environment.LEDGER_BYTES, "12345")
    history = history_of(vocabulary)
    assert history.ledger.max_bytes == 12345
    assert history_of(vocabulary) is history


def test_without_a_ledger_a_turn_is_what_the_client_sent(vocabulary, monkeypatch):
    monkeypatch.setenv(environment.LEDGER_BYTES, "0")
    adapter = KimiChatAdapter(vocabulary, SimpleNamespace(), owns_output=True)
    _, turn = encode(adapter, chat(USER))
    assert turn is None
    following, _ = encode(adapter, chat(USER, ECHO, USER))
    assert following == PromptCodec(vocabulary).encode([USER, ECHO, USER])


def test_the_limit_is_256_mib_where_nothing_is_set(monkeypatch):
    monkeypatch.delenv(environment.LEDGER_BYTES, raising=False)
    assert environment.ledger_bytes() == 268_435_456


@pytest.mark.parametrize("value", ["-1", "1e6", "256M", "²"])
def test_a_wrong_limit_stops_the_start_with_its_name_and_value(monkeypatch, value):
    monkeypatch.setenv(environment.LEDGER_BYTES, value)
    with pytest.raises(SystemExit, match=f"{environment.LEDGER_BYTES}: want a whole number.*got"):
        register.register()


def sample(name):
    import prometheus_client

    return prometheus_client.REGISTRY.get_sample_value(f"sglang_kimi_{name}") or 0.0


def test_what_the_ledger_does_is_counted(vocabulary, monkeypatch):
    monkeypatch.setattr(history_module, "_histories", {})
    adapter = KimiChatAdapter(vocabulary, SimpleNamespace(), owns_output=True)
    names = ("ledger_hits_total", "restored_thinking_tokens_total", "spliced_tokens_total")
    names += ("prompt_tokens_total", "prompt_build_seconds_count", "ledger_misses_total")
    before = {name: sample(name) for name in names}
    prompt, turn = encode(adapter, chat(USER))
    turn.record(output(vocabulary))
    following, _ = encode(adapter, chat(USER, ECHO, USER))
    grown = {name: sample(name) - before[name] for name in names}
    assert grown == {
        "ledger_hits_total": 1,
        "ledger_misses_total": 0,
        "restored_thinking_tokens_total": len("secret thinking"),
        "spliced_tokens_total": len(output(vocabulary)),
        "prompt_tokens_total": len(prompt) + len(following),
        "prompt_build_seconds_count": 2,
    }
    assert sample("ledger_bytes") == adapter._history.ledger.num_bytes > 0


def test_the_handler_works_on_ids_that_are_already_there(adapter):
    request = chat(USER)
    handler = SimpleNamespace(chat_encoding_spec=ENCODING, _encoding_adapter=adapter)
    seen = request_hooks._process_messages(
        lambda _, request, is_multimodal, **options: (list(request.input_ids), options),
        handler,
        request,
        False,
        output_constrained=True,
    )
    assert seen == (encode(adapter, request)[0], {"output_constrained": True})
    assert request.input_ids is None


@pytest.mark.parametrize(("spec", "given"), [(ENCODING, [1, 2]), (None, None)])
def test_a_clients_own_ids_and_other_models_are_left_alone(adapter, spec, given):
    handler = SimpleNamespace(chat_encoding_spec=spec, _encoding_adapter=adapter)
    request = chat(USER, input_ids=given)
    seen = request_hooks._process_messages(
        lambda _, request, is_multimodal: request.input_ids, handler, request, False
    )
    assert seen == given == request.input_ids
