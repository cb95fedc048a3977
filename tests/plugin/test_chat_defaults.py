"""Without a flag a Kimi server uses our parsers, grammar backend and sampling; others do not."""

from types import SimpleNamespace

import pytest

from sglang_kimi.chat import defaults
from sglang_kimi.chat.names import ENCODING, GRAMMAR_BACKEND, PARSER, vocabulary_of

KIMI = SimpleNamespace(architectures=["KimiK25ForConditionalGeneration"])
OTHER = SimpleNamespace(architectures=["LlamaForCausalLM"])


def server_args(config=KIMI, **flags):
    given = {
        "reasoning_parser": None,
        "tool_call_parser": None,
        "grammar_backend": None,
        "strip_thinking_cache": False,
        "disaggregation_mode": "null",
        "tokenizer_worker_num": 1,
        **flags,
    }
    return SimpleNamespace(_model_config=SimpleNamespace(hf_config=config), **given)


def test_a_kimi_server_has_its_defaults_without_a_flag():
    assert defaults._architecture_defaults({}, server_args()) == {
        "reasoning_parser": PARSER,
        "tool_call_parser": PARSER,
        "enable_cache_report": True,
        "enable_response_store": True,
        "grammar_backend": GRAMMAR_BACKEND,
    }


@pytest.mark.parametrize("name", ["kimi_k2", "auto"])
def test_the_names_that_users_know_mean_ours(name):
    flags = {"reasoning_parser": name, "tool_call_parser": name}
    chosen = defaults._architecture_defaults({}, server_args(**flags))
    assert (chosen["reasoning_parser"], chosen["tool_call_parser"]) == (PARSER, PARSER)


def test_what_the_operator_gave_stays():
    flags = {"reasoning_parser": "deepseek-r1", "grammar_backend": "xgrammar"}
    chosen = defaults._architecture_defaults({}, server_args(**flags))
    assert not {"reasoning_parser", "grammar_backend"} & chosen.keys()


@pytest.mark.parametrize(
    "args", [server_args(OTHER), SimpleNamespace(), server_args(SimpleNamespace())]
)
def test_another_models_defaults_are_left_alone(args):
    assert defaults._architecture_defaults({"x": 1}, args) == {"x": 1}


def test_the_model_cards_sampling_gives_way_to_the_checkpoints():
    model = SimpleNamespace(hf_config=KIMI)
    assert defaults._sampling_defaults({}, model) == {"temperature": 1.0, "top_p": 0.95}
    assert defaults._sampling_defaults({"top_p": 0.5}, model)["top_p"] == 0.5
    assert defaults._sampling_defaults({}, SimpleNamespace(hf_config=OTHER)) == {}


def test_only_our_architecture_gets_our_encoding():
    assert defaults._resolve_encoding(None, hf_config=KIMI, tokenizer=None) == ENCODING
    assert defaults._resolve_encoding("dsv32", hf_config=OTHER, tokenizer=None) == "dsv32"
    assert defaults._is_our_encoding(False, ENCODING)
    assert not defaults._is_our_encoding(False, None)
    assert defaults._is_our_encoding(True, "kimi_k3")


def test_another_tokenizer_is_refused_with_the_plugin_that_is_missing():
    with pytest.raises(ValueError, match=r"got SimpleNamespace; .* needs kimi_model"):
        vocabulary_of(SimpleNamespace(vocabulary={}))


def test_a_cache_without_answers_is_refused_at_start_with_the_reason():
    with pytest.raises(SystemExit, match=r"--strip-thinking-cache .* thinking of all"):
        defaults._architecture_defaults({}, server_args(strip_thinking_cache=True))
    assert defaults._architecture_defaults({}, server_args(OTHER, strip_thinking_cache=True)) == {}
