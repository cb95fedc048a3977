"""Without a flag a Kimi server uses our parsers, grammar backend and sampling; others do not."""

from types import SimpleNamespace

import pytest

from sglang_kimi.chat import defaults, register
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


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SGLANG_KIMI_MAX_THINKING_TOKENS", "5"), ("SGLANG_KIMI_REASONING_EFFORT", "low=5")],
)
def test_a_default_budget_that_nothing_would_hold_stops_the_start(variable, value, monkeypatch):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit, match=rf"{variable}: want .*kimi_k27.*got 'xgrammar'"):
        defaults._architecture_defaults({}, server_args(grammar_backend="xgrammar"))
    assert defaults._architecture_defaults({}, server_args())["grammar_backend"] == GRAMMAR_BACKEND


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SGLANG_KIMI_TOOL_GRAMMAR", "on"),
        ("SGLANG_KIMI_MAX_THINKING_TOKENS", "-5"),
        ("SGLANG_KIMI_REASONING_EFFORT", "low"),
    ],
)
def test_a_wrong_variable_stops_the_start_in_one_line(variable, value, monkeypatch):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit, match=f"sglang-kimi: {variable}: want "):
        register.register()


@pytest.mark.parametrize("name", ["kimi_k27", "kimi_k2", "kimi", "auto"])
def test_text_endpoints_know_our_parsers_by_every_name_that_users_have(name):
    ours, stock = object(), object()
    find = defaults._native_text_parser
    chosen = find(found, name, chat_encoding_spec=ENCODING, adapter=ours)
    assert chosen is ours
    assert find(found, name, chat_encoding_spec=None, adapter=stock) is None or name == PARSER


def test_text_endpoints_leave_other_names_to_the_host():
    assert (
        defaults._native_text_parser(found, "qwen3", chat_encoding_spec=ENCODING, adapter=1) is None
    )


def found(parser_name, *, chat_encoding_spec, adapter):
    """Stand in for SGLang's look-up, which knows our own name only."""
    return adapter if parser_name == PARSER else None
