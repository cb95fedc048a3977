"""What answers, and what is remembered of them, touch in SGLang."""

from .seam import Seam

_OPENAI = "sglang.srt.entrypoints.openai"
_ANTHROPIC = "sglang.srt.entrypoints.anthropic"
_CHAT = f"{_OPENAI}.serving_chat.OpenAIServingChat"
_KIMI_CHAT = "sglang_kimi/chat"

ANSWER_SEAMS = {
    "new_output_ids": Seam(
        f"{_OPENAI}.chat_encoding_adapters.select_new_output_ids",
        (
            *("output_ids", "num_consumed_tokens", "completion_tokens"),
            *("finish_reason_type", "incremental"),
        ),
        f"{_KIMI_CHAT}/adapter.py, history_hooks.py",
        "chunks hold all ids or only new ones; SGLang knows which",
    ),
    "build_chat_response": Seam(
        f"{_CHAT}._build_chat_response",
        ("self", "request", "ret", "created"),
        f"{_KIMI_CHAT}/response_hooks.py",
        "every message gets `reasoning`, every answer its warnings",
    ),
    "build_response": Seam(
        f"{_OPENAI}.serving_responses.OpenAIServingResponses._build_response",
        ("request", "sampling_params", "output", "status"),
        f"{_KIMI_CHAT}/response_hooks.py",
        "whole and streamed answers of /v1/responses get their warnings here",
    ),
    "build_usage": Seam(
        f"{_OPENAI}.usage_processor.UsageProcessor.calculate_token_usage",
        ("prompt_tokens", "completion_tokens"),
        f"{_KIMI_CHAT}/response_hooks.py",
        "every usage gets `cached_tokens`",
    ),
    "build_error": Seam(
        f"{_OPENAI}.serving_base.OpenAIServingBase.create_error_response",
        ("self", "message"),
        f"{_KIMI_CHAT}/response_hooks.py",
        "OpenAI's clients look for errors under `error`",
    ),
    "build_responses_error": Seam(
        f"{_OPENAI}.serving_responses.OpenAIServingResponses.create_error_response",
        ("self", "message"),
        f"{_KIMI_CHAT}/response_hooks.py",
        "the field that an error is about is named in `param` too",
    ),
    "convert_chat_response": Seam(
        f"{_ANTHROPIC}.serving.AnthropicServing._convert_response",
        ("self", "response"),
        f"{_KIMI_CHAT}/response_hooks.py",
        "a cut call must not become a call with empty input; warnings are kept",
    ),
    "stream_messages": Seam(
        f"{_ANTHROPIC}.serving.AnthropicServing._generate_anthropic_stream",
        ("self", "adapted_request", "processed_request", "anthropic_request", "raw_request"),
        f"{_KIMI_CHAT}/response_hooks.py",
        "its events are built from chat chunks, which lose the warnings",
    ),
    "stream_chunks": Seam(
        f"{_OPENAI}.sse_utils",
        (),
        f"{_KIMI_CHAT}/response_hooks.py",
        "its chunk builder looks StreamDelta up by name",
    ),
    "stream_delta": Seam(
        f"{_OPENAI}.sse_utils.StreamDelta",
        ("reasoning_content", "role", "content"),
        f"{_KIMI_CHAT}/response_hooks.py",
        "role and finish chunks get `reasoning` too",
    ),
    "convert_chat_request": Seam(
        f"{_CHAT}._convert_to_internal_request",
        ("self", "request", "raw_request"),
        f"{_KIMI_CHAT}/history_hooks.py",
        "headers, request and prompt of chat and messages meet only here",
    ),
    "tokenize_chat": Seam(
        f"{_OPENAI}.serving_tokenize.OpenAIServingTokenize._handle_non_streaming_request",
        ("self", "adapted_request", "request", "raw_request"),
        f"{_KIMI_CHAT}/history_hooks.py",
        "a count must know the headers that the prompt depends on",
    ),
    "count_message_tokens": Seam(
        f"{_ANTHROPIC}.serving.AnthropicServing.handle_count_tokens",
        ("self", "request", "raw_request"),
        f"{_KIMI_CHAT}/history_hooks.py",
        "a count must know the headers that the prompt depends on",
    ),
    "init_responses": Seam(
        f"{_OPENAI}.serving_responses.OpenAIServingResponses.__init__",
        ("self",),
        f"{_KIMI_CHAT}/history_hooks.py",
        "stored inputs, by the name msg_store, would grow for as long as the server runs",
    ),
    "create_responses": Seam(
        f"{_OPENAI}.serving_responses.OpenAIServingResponses.create_responses",
        ("self", "request", "raw_request"),
        f"{_KIMI_CHAT}/history_hooks.py",
        "the chat request that is encoded for it holds neither salt nor key nor headers",
    ),
    "generate_response": Seam(
        f"{_OPENAI}.serving_responses.OpenAIServingResponses._generate_with_builtin_tools",
        ("self", "request_id", "request_prompt", "adapted_request"),
        f"{_KIMI_CHAT}/history_hooks.py",
        "called inside create_responses with the request that will generate",
    ),
    "generate_request": Seam(
        "sglang.srt.managers.tokenizer_manager.TokenizerManager.generate_request",
        ("self", "obj", "request"),
        f"{_KIMI_CHAT}/history_hooks.py",
        "every output id of every API passes here, also where the client has left",
    ),
    "count_reasoning": Seam(
        "sglang.srt.managers.schedule_batch.Req.update_reasoning_tokens",
        ("self", "token_id", "think_end_ids"),
        f"{_KIMI_CHAT}/reasoning_tokens.py",
        "a tool section ends the thinking as well, and SGLang knows one end only",
    ),
    "fake_bootstrap_host": Seam(
        "sglang.srt.disaggregation.utils.FAKE_BOOTSTRAP_HOST",
        (),
        f"{_KIMI_CHAT}/history_hooks.py",
        "a request without a prefill server has no other prompt to agree with",
    ),
}
