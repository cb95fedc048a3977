"""What the chat side touches in SGLang's serving: names, defaults, HTTP, grammars."""

from .seam import Seam

_OPENAI = "sglang.srt.entrypoints.openai"
_CHAT = f"{_OPENAI}.serving_chat.OpenAIServingChat"
_KIMI_CHAT = "sglang_kimi/chat"

SERVING_SEAMS = {
    "reasoning_parser_names": Seam(
        "sglang.srt.parser.reasoning_parser_names.REASONING_PARSER_NAMES",
        (),
        f"{_KIMI_CHAT}/defaults.py",
        "the command line checks --reasoning-parser against this list",
    ),
    "tool_call_parser_names": Seam(
        "sglang.srt.function_call.parser_names.TOOL_CALL_PARSER_NAMES",
        (),
        f"{_KIMI_CHAT}/defaults.py",
        "the command line checks --tool-call-parser against this list",
    ),
    "reasoning_detectors": Seam(
        "sglang.srt.parser.reasoning_parser.ReasoningParser.DetectorMap",
        (),
        f"{_KIMI_CHAT}/defaults.py",
        "a reasoning parser is looked up here by its name",
    ),
    "tool_call_detectors": Seam(
        "sglang.srt.function_call.function_call_parser.FunctionCallParser.ToolCallParserEnum",
        (),
        f"{_KIMI_CHAT}/defaults.py",
        "a tool-call parser is looked up here by its name",
    ),
    "grammar_backend_choices": Seam(
        "sglang.srt.arg_groups.choices.add_grammar_backend_choices",
        (),
        f"{_KIMI_CHAT}/defaults.py",
        "the command line checks --grammar-backend against a list",
    ),
    "encoding_builders": Seam(
        f"{_OPENAI}.chat_encoding_adapters._BUILDERS",
        (),
        f"{_KIMI_CHAT}/defaults.py",
        "adapters are built from this table; it has no registering function",
    ),
    "encoding_parsers": Seam(
        f"{_OPENAI}.chat_encoding_adapters.ADAPTER_OUTPUT_PARSERS",
        (),
        f"{_KIMI_CHAT}/defaults.py",
        "it says whose text parsers the adapter stands in for",
    ),
    "resolve_encoding": Seam(
        f"{_OPENAI}.chat_encoding.resolve_chat_encoding_spec",
        ("hf_config",),
        f"{_KIMI_CHAT}/defaults.py",
        "it chooses the chat encoding of a model",
    ),
    "encoding_keeps_inline_system": Seam(
        f"{_OPENAI}.chat_encoding.spec_supports_inline_system",
        ("spec",),
        f"{_KIMI_CHAT}/defaults.py",
        "system messages stay where the client has them",
    ),
    "encoding_gives_ids": Seam(
        f"{_OPENAI}.chat_encoding.spec_renders_prompt_ids",
        ("spec",),
        f"{_KIMI_CHAT}/defaults.py",
        "the prompt is ids, not text to be tokenised",
    ),
    "native_text_parser": Seam(
        f"{_OPENAI}.chat_encoding_adapters.native_text_parser",
        ("parser_name", "chat_encoding_spec", "adapter"),
        f"{_KIMI_CHAT}/defaults.py",
        "SGLang's own parser names mean ours in its text endpoints, too",
    ),
    "architecture_defaults": Seam(
        "sglang.srt.parser.template_detection._architecture_parser_defaults",
        ("server_args",),
        f"{_KIMI_CHAT}/defaults.py",
        "the last place where server arguments can depend on the model's config",
    ),
    "sampling_defaults": Seam(
        "sglang.srt.configs.model_config.ModelConfig.get_default_sampling_params",
        ("self",),
        f"{_KIMI_CHAT}/defaults.py",
        "the model card's sampling, which the checkpoint does not carry",
    ),
    "apply_template": Seam(
        f"{_CHAT}._apply_jinja_template",
        ("self", "request", "tools", "is_multimodal"),
        f"{_KIMI_CHAT}/prompt_cost.py",
        "where SGLang itself builds a prompt; timed beside ours",
    ),
    "http_app": Seam(
        "sglang.srt.entrypoints.http_server.app",
        (),
        f"{_KIMI_CHAT}/http_app.py",
        "its handlers give validation errors in pydantic's words; no hook gives headers",
    ),
    "register_grammar_backend": Seam(
        "sglang.srt.constrained.base_grammar_backend.register_grammar_backend",
        ("name", "init_func"),
        f"{_KIMI_CHAT}/grammar_requests.py",
        "our grammar backend is used as it is, without SGLang's reasoning wrapper",
    ),
    "grammar_of_request": Seam(
        "sglang.srt.constrained.grammar_manager.GrammarManager.process_req_with_grammar",
        ("self", "req"),
        f"{_KIMI_CHAT}/grammar_requests.py",
        "a thinking budget alone needs a grammar too",
    ),
    "grammar_is_ready": Seam(
        "sglang.srt.constrained.grammar_manager.GrammarManager._apply_request_reasoning_config",
        ("self", "req"),
        f"{_KIMI_CHAT}/grammar_requests.py",
        "called once for each request with its own grammar, which then gets the request's numbers",
    ),
    "grammar_masks": Seam(
        "sglang.srt.constrained.xgrammar_backend.XGrammarGrammar",
        (),
        f"{_KIMI_CHAT}/grammar_backend.py",
        "masks are made, moved and applied as SGLang's own backend does it on each device",
    ),
}
