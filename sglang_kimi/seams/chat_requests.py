"""What reading, checking and encoding chat requests touches in SGLang."""

from .seam import Seam

_OPENAI = "sglang.srt.entrypoints.openai"
_ANTHROPIC = "sglang.srt.entrypoints.anthropic"
_CHAT = f"{_OPENAI}.serving_chat.OpenAIServingChat"
_KIMI_CHAT = "sglang_kimi/chat"

_MODELS = {
    "message_model": f"{_OPENAI}.protocol.ChatCompletionMessageGenericParam",
    "user_message_model": f"{_OPENAI}.protocol.ChatCompletionMessageUserParam",
    "chat_request_model": f"{_OPENAI}.protocol.ChatCompletionRequest",
    "responses_request_model": f"{_OPENAI}.protocol.ResponsesRequest",
    "messages_request_model": f"{_ANTHROPIC}.protocol.AnthropicMessagesRequest",
    "count_tokens_request_model": f"{_ANTHROPIC}.protocol.AnthropicCountTokensRequest",
    "usage_model": f"{_OPENAI}.protocol.UsageInfo",
    "message_response_model": f"{_OPENAI}.protocol.ChatMessage",
    "messages_response_model": f"{_ANTHROPIC}.protocol.AnthropicMessagesResponse",
    "tokenize_request_model": f"{_OPENAI}.protocol.TokenizeRequest",
    "choice_model": f"{_OPENAI}.protocol.ChatCompletionResponseChoice",
    "chat_response_model": f"{_OPENAI}.protocol.ChatCompletionResponse",
    "chat_stream_model": f"{_OPENAI}.protocol.ChatCompletionStreamResponse",
    "completion_response_model": f"{_OPENAI}.protocol.CompletionResponse",
    "completion_stream_model": f"{_OPENAI}.protocol.CompletionStreamResponse",
    "responses_response_model": f"{_OPENAI}.protocol.ResponsesResponse",
    "responses_event_model": f"{_OPENAI}.protocol.ResponsesLifecycleEvent",
}

REQUEST_SEAMS = {
    **{
        name: Seam(
            target,
            (),
            f"{_KIMI_CHAT}/protocol.py",
            "rebuilt to keep the fields of Kimi's clients, its own and those of what it nests",
        )
        for name, target in _MODELS.items()
    },
    "process_messages": Seam(
        f"{_CHAT}._process_messages",
        ("self", "request", "is_multimodal"),
        f"{_KIMI_CHAT}/request_hooks.py",
        "the history is dumped and copied before the adapter sees it; ids of its own are not",
    ),
    "thinking_of_request": Seam(
        f"{_CHAT}._get_reasoning_from_request",
        ("self", "request"),
        f"{_KIMI_CHAT}/request_hooks.py",
        "a request cannot switch the thinking off: the prompt opens it always",
    ),
    "switch_thinking": Seam(
        f"{_CHAT}.apply_reasoning_enabled",
        ("self", "request", "enabled"),
        f"{_KIMI_CHAT}/request_hooks.py",
        "`thinking: disabled` is accepted and served with thinking",
    ),
    "validate_chat_request": Seam(
        f"{_CHAT}._validate_request",
        ("self", "request"),
        f"{_KIMI_CHAT}/request_hooks.py",
        "a token limit over the context is lowered instead of refused",
    ),
    "check_token_room": Seam(
        "sglang.srt.managers.tokenizer_manager.TokenizerManager._validate_one_request",
        ("self", "obj", "input_ids"),
        f"{_KIMI_CHAT}/request_hooks.py",
        "a token limit over the room behind the prompt is lowered instead of refused",
    ),
    "chat_sampling_params": Seam(
        f"{_OPENAI}.protocol.ChatCompletionRequest.to_sampling_params",
        ("self", "stop", "model_generation_config", "tool_call_constraint"),
        f"{_KIMI_CHAT}/request_hooks.py",
        "calls are held as asked, beside a format too; numbers go into custom_params",
    ),
    "responses_sampling_params": Seam(
        f"{_OPENAI}.protocol.ResponsesRequest.to_sampling_params",
        ("self", "default_max_tokens", "default_params", "stop", "tool_call_constraint"),
        f"{_KIMI_CHAT}/request_hooks.py",
        "calls are held as asked, beside a format too; numbers go into custom_params",
    ),
    "convert_messages_request": Seam(
        f"{_ANTHROPIC}.serving.AnthropicServing._convert_to_chat_completion_request",
        ("self", "anthropic_request"),
        f"{_KIMI_CHAT}/request_hooks.py",
        "the conversion drops our field and escapes past arguments",
    ),
    "response_item": Seam(
        f"{_OPENAI}.serving_responses.OpenAIServingResponses._normalize_response_message_for_chat",
        ("message",),
        f"{_KIMI_CHAT}/responses_items.py",
        "it relabels developers and drops past arguments that are no object",
    ),
    "anthropic_message_model": Seam(
        f"{_ANTHROPIC}.protocol.AnthropicMessage",
        (),
        f"{_KIMI_CHAT}/protocol.py",
        "roles outside a list are refused, and the prompt format shows any",
    ),
    "validate_media": Seam(
        f"{_CHAT}._validate_media_content",
        ("self", "request"),
        f"{_KIMI_CHAT}/refusal_hooks.py",
        "our encoding looks for parts that are no text itself, and names them",
    ),
    "normalize_schema_types": Seam(
        "sglang.srt.function_call.utils.normalize_json_schema_types",
        ("schema",),
        f"{_KIMI_CHAT}/refusal_hooks.py",
        "we check tools in SGLang's place, and databases' type names stay allowed",
    ),
    "make_response_prompt": Seam(
        f"{_OPENAI}.serving_responses.OpenAIServingResponses._make_request",
        ("self", "request", "prev_response", "tokenizer"),
        f"{_KIMI_CHAT}/refusal_hooks.py",
        "the one place between a request of /v1/responses and its stream where a 400 is possible",
    ),
}
