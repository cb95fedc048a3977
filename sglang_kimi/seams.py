"""Every SGLang internal that this package touches, in one place, each with what we rely on.

SGLang 0.5.23 was read for all of them. On an upgrade `tests/plugin/test_seams.py` checks each one
and names what moved; at run time `hook` and `require` check the same before anything is patched, so
a host that changed stops the start instead of serving with half of our code.
"""

import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

HookKind = Literal["before", "after", "around", "replace"]


class SeamError(RuntimeError):
    """SGLang no longer looks as we need it: read the named module of ours, then adapt it."""


@dataclass(frozen=True)
class Seam:
    """One SGLang internal.

    target:      dotted path as `pkgutil.resolve_name` takes it.
    parameters:  leading parameter names of the callable, empty for data and classes.
    used_by:     our module that depends on it, the place to adapt.
    why:         what we do there and why no official way exists.
    """

    target: str
    parameters: tuple[str, ...]
    used_by: str
    why: str


def resolve(seam: Seam) -> Any:
    """Return the object behind a seam; SeamError if it is gone or has other parameters."""
    try:
        found = pkgutil.resolve_name(seam.target)
    except (ImportError, AttributeError, ValueError) as error:
        raise SeamError(
            f"SGLang changed {seam.target} ({error}), see {seam.used_by}: {seam.why}"
        ) from error
    if seam.parameters:
        names = tuple(inspect.signature(inspect.unwrap(found)).parameters)
        if names[: len(seam.parameters)] != seam.parameters:
            raise SeamError(
                f"SGLang changed {seam.target}: it takes {names}, we rely on {seam.parameters}, "
                f"see {seam.used_by}: {seam.why}"
            )
    return found


def require(name: str) -> Any:
    """Return the checked object of the seam `name` (a key of SEAMS)."""
    return resolve(SEAMS[name])


def hook(name: str, function: Callable[..., Any], kind: HookKind) -> None:
    """Register `function` on the seam `name` through SGLang's hook registry, checked first."""
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    resolve(SEAMS[name])
    HookRegistry.register(SEAMS[name].target, function, HookType(kind))


def substitute(name: str, value: Any) -> None:
    """Put `value` in the place of the seam `name`, checked first; for what is looked up late."""
    resolve(SEAMS[name])
    owner, _, attribute = SEAMS[name].target.rpartition(".")
    setattr(pkgutil.resolve_name(owner), attribute, value)


_CPU = "sglang_kimi/cpu"
_MOE = "sglang_kimi/moe"
_MODEL = "sglang_kimi/models"

CPU_SEAMS = {
    "mla_forward_method": Seam(
        "sglang.srt.models.deepseek_common.attention_backend_handler.AttentionBackendRegistry.register",
        ("backend_name", "handler_func"),
        "sglang_kimi/cpu/attention.py, sglang_kimi/gpu/attention.py",
        "the absorbed MLA form is chosen per attention backend name; ours must be named there",
    ),
    "attention_backends_table": Seam(
        "sglang.srt.layers.attention.attention_registry.ATTENTION_BACKENDS",
        (),
        f"{_CPU}/attention.py",
        "the name torch_native switches graphs off in many places; ours stands behind it",
    ),
    "batch_is_cpu": Seam(
        "sglang.srt.model_executor.forward_batch_info._is_cpu",
        (),
        f"{_CPU}/data_parallel.py",
        "padding a batch of DP attention pins memory, which needs a CUDA driver",
    ),
    "collectives_are_cpu": Seam(
        "sglang.srt.distributed.parallel_state._is_cpu",
        (),
        f"{_CPU}/data_parallel.py",
        "gathering and scattering go to custom ops that have no CPU form",
    ),
    "dp_copy": Seam(
        "sglang.srt.layers.dp_attention.memcpy_func",
        (),
        f"{_CPU}/data_parallel.py",
        "rows are copied by a Triton kernel unless the CPU engine runs",
    ),
    "dp_copy_cpu": Seam(
        "sglang.srt.layers.dp_attention.memcpy_cpu",
        ("dst", "src", "dim", "offset", "sz", "offset_src"),
        f"{_CPU}/data_parallel.py",
        "the torch form of the same copy",
    ),
    "reduce_scatterv": Seam(
        "sglang.srt.distributed.parallel_state.GroupCoordinator.reduce_scatterv",
        ("self", "input_", "output", "sizes"),
        f"{_CPU}/data_parallel.py",
        "the sum that leaves each rank its rows is NCCL only",
    ),
}

_GPU = "sglang_kimi/gpu"
_BACKEND = "sglang.srt.layers.attention.base_attn_backend.AttentionBackend"

GPU_SEAMS = {
    "attention_backend_choices": Seam(
        "sglang.srt.arg_groups.choices.add_attention_backend_choices",
        (),
        f"{_GPU}/register.py",
        "the command line checks --attention-backend against a list",
    ),
    "register_attention_backend": Seam(
        "sglang.srt.layers.attention.attention_registry.register_attention_backend",
        ("name",),
        f"{_GPU}/register.py",
        "the official way in for an attention backend",
    ),
    "plan_step": Seam(
        f"{_BACKEND}.init_forward_metadata",
        ("self", "forward_batch"),
        f"{_GPU}/attention.py",
        "called once a step without a graph; our wrapper plans there",
    ),
    "plan_graph_step": Seam(
        f"{_BACKEND}.init_forward_metadata_out_graph",
        ("self", "forward_batch", "in_capture"),
        f"{_GPU}/attention.py",
        "called before a graph is captured or replayed; our wrapper plans in place there",
    ),
    "allocate_graph_state": Seam(
        f"{_BACKEND}.init_cuda_graph_state",
        ("self", "max_bs", "max_num_tokens"),
        f"{_GPU}/attention.py",
        "the index buffers of all captured batch sizes are allocated there",
    ),
    "write_location": Seam(
        "sglang.srt.mem_cache.memory_pool.KVWriteLoc.for_batch",
        ("forward_batch",),
        f"{_GPU}/attention.py",
        "a step's latents are written to the batch's slots",
    ),
}

MODEL_SEAMS = {
    "model_registry": Seam(
        "sglang.srt.models.registry.ModelRegistry",
        (),
        "sglang_kimi/register_model.py",
        "our class replaces the in-tree one of the same architecture name",
    ),
    "model_class": Seam(
        "sglang.srt.model_loader.utils.get_model_architecture",
        ("model_config",),
        "sglang_kimi/register_model.py",
        "SGLang only logs a model class that fails to import, then builds its own",
    ),
    "config_registry": Seam(
        "sglang.srt.utils.hf_transformers.common._CONFIG_REGISTRY",
        (),
        "sglang_kimi/register_model.py",
        "SGLang parses config.json again through its own table; AutoConfig alone does not win",
    ),
    "attention": Seam(
        "sglang.srt.models.deepseek_v2.DeepseekV2AttentionMLA.__init__",
        ("self", "config", "hidden_size", "num_heads", "qk_nope_head_dim", "qk_rope_head_dim"),
        f"{_MODEL}/kimi_k27.py",
        "MLA with SGLang's attention backends is a part of our decoder layer",
    ),
    "mlp": Seam(
        "sglang.srt.models.deepseek_v2.DeepseekV2MLP.__init__",
        ("self", "hidden_size", "intermediate_size", "hidden_act"),
        f"{_MODEL}/kimi_k27.py",
        "dense and shared-expert MLPs are SGLang's parallel ones",
    ),
    "stages": Seam(
        "sglang.srt.layers.layer_boundary.append_stages",
        ("stages",),
        f"{_MODEL}/kimi_k27.py",
        "residuals, norms and all traffic between ranks are declared as stages",
    ),
    "weights_iterator": Seam(
        "sglang.srt.model_loader.loader.DefaultModelLoader._get_weights_iterator",
        ("self", "source"),
        "sglang_kimi/mapped_loading.py",
        "experts on the CPU stay in their files; SGLang hands out no mapping that we can tell",
    ),
    "weight_files": Seam(
        "sglang.srt.model_loader.loader.DefaultModelLoader._prepare_weights",
        ("self", "model_name_or_path", "revision", "fall_back_to_pt", "allow_patterns_overrides"),
        "sglang_kimi/mapped_loading.py",
        "it finds, downloads and filters the files; we only open them ourselves",
    ),
    "launch": Seam(
        "sglang.srt.entrypoints.engine.Engine._launch_subprocesses",
        ("server_args", "init_tokenizer_manager_func"),
        "sglang_kimi/register_model.py",
        "a broken checkpoint is refused before any process starts, in one line",
    ),
}

_STEP_PROCESS = f"{_MODEL}/step_process.py"
_SCHEDULER = "sglang.srt.managers.scheduler.Scheduler"
_RUNNER = "sglang.srt.model_executor.model_runner.ModelRunner"

BENCH_SEAMS = {
    "bench_configuration": Seam(
        "sglang.benchmark.one_batch._init_process_global_configs",
        (),
        _STEP_PROCESS,
        "what a scheduler sets in its process before it loads a model",
    ),
    "bench_load_model": Seam(
        "sglang.benchmark.one_batch.load_model",
        ("server_args", "port_args", "gpu_id", "tp_rank"),
        _STEP_PROCESS,
        "the model's own steps are timed without a server, as SGLang's benchmark does it",
    ),
    **{
        name: Seam(
            target,
            parameters,
            "sglang_kimi/step_times.py",
            "timed, where a benchmark asks where the scheduler's steps go",
        )
        for name, target, parameters in (
            ("scheduler_receive", f"{_SCHEDULER}.ingest_requests", ("self",)),
            ("scheduler_next_batch", f"{_SCHEDULER}.get_next_batch_to_run", ("self",)),
            ("scheduler_run_batch", f"{_SCHEDULER}.run_batch", ("self", "batch")),
            (
                "scheduler_results",
                f"{_SCHEDULER}.process_batch_result",
                ("self", "batch", "result"),
            ),
            ("runner_forward", f"{_RUNNER}.forward", ("self", "forward_batch")),
            ("runner_sample", f"{_RUNNER}.sample", ("self", "logits_output")),
        )
    },
}

_FUSED_MOE = "sglang.srt.layers.moe.fused_moe_triton.layer"

MOE_SEAMS = {
    "moe_layer": Seam(
        f"{_FUSED_MOE}.FusedMoE.__init__",
        ("self", "num_experts", "hidden_size", "intermediate_size", "layer_id", "top_k"),
        f"{_MOE}/layer.py",
        "our experts run between its dispatchers, so that all of SGLang's work for them",
    ),
    "moe_dispatcher": Seam(
        f"{_FUSED_MOE}.create_moe_dispatcher",
        ("moe_runner_config", "quant_method"),
        f"{_MOE}/dispatcher.py",
        "it knows no dispatcher for the backend `customized`, which its own list names",
    ),
    "moe_quant_method": Seam(
        "sglang.srt.layers.quantization.base_config.FusedMoEMethodBase.create_weights",
        ("self", "layer", "num_experts", "hidden_size", "intermediate_size_per_partition"),
        f"{_MOE}/runner.py",
        "our weights and kernels stand behind a method of our own",
    ),
    "moe_runner_core": Seam(
        "sglang.srt.layers.moe.moe_runner.runner.register_moe_runner_core",
        ("backend_name", "factory"),
        f"{_MOE}/runner.py",
        "our kernels have a runner name, which no flag needs to give",
    ),
    "moe_run_from_dispatch": Seam(
        "sglang.srt.layers.moe.moe_runner.base.DispatchMoeRunnerCore.run_from_dispatch",
        ("self", "dispatch_output", "quant_info", "runner_config", "hooks"),
        f"{_MOE}/runner.py",
        "our runner takes what any dispatcher delivers",
    ),
    "moe_rows_stay_local": Seam(
        "sglang.srt.layers.moe.utils.is_moe_input_scattered_across_dp_ranks",
        (),
        f"{_MOE}/block.py",
        "the boundaries ask it, and the shared expert must agree with them",
    ),
    "moe_empty_topk": Seam(
        "sglang.srt.layers.moe.topk.TopK.empty_topk_output",
        ("self", "device"),
        f"{_MOE}/block.py",
        "a rank without tokens still takes part in the experts' exchange",
    ),
    "expert_location": Seam(
        "sglang.srt.eplb.expert_location.get_global_expert_location_metadata",
        (),
        f"{_MOE}/expert_location.py",
        "which copies of which experts a rank holds, with redundant ones",
    ),
    "expert_recorder": Seam(
        "sglang.srt.eplb.expert_distribution.ExpertDistributionRecorder.with_current_layer",
        ("self", "layer_idx"),
        f"{_MODEL}/kimi_k27.py",
        "the balancing counts which experts each layer chooses, and must be told the layer",
    ),
    "expert_updater": Seam(
        "sglang.srt.eplb.expert_location_updater.ExpertLocationUpdater.update",
        ("self", "routed_experts_weights_of_layer", "new_expert_location_metadata"),
        f"{_MODEL}/kimi_k27.py",
        "the balancing exchanges rows of our stacked tensors in place",
    ),
    "command_line": Seam(
        "sglang.srt.server_args.ServerArgs.add_cli_args",
        ("parser",),
        f"{_MOE}/register.py",
        "--moe-a2a-backend does not offer `customized`, which the backends' list has",
    ),
}

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

CHAT_SEAMS = {
    **{
        name: Seam(
            target,
            (),
            f"{_KIMI_CHAT}/protocol.py",
            "rebuilt to keep the fields of Kimi's clients, its own and those of what it nests",
        )
        for name, target in _MODELS.items()
    },
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
    "new_output_ids": Seam(
        f"{_OPENAI}.chat_encoding_adapters.select_new_output_ids",
        (
            "output_ids",
            "num_consumed_tokens",
            "completion_tokens",
            "finish_reason_type",
            "incremental",
        ),
        f"{_KIMI_CHAT}/adapter.py, history_hooks.py",
        "chunks hold all ids or only new ones; SGLang knows which",
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
    "process_messages": Seam(
        f"{_CHAT}._process_messages",
        (
            "self",
            "request",
            "is_multimodal",
        ),
        f"{_KIMI_CHAT}/request_hooks.py",
        "the history is dumped and copied before the adapter sees it; ids of its own are not",
    ),
    "thinking_of_request": Seam(
        f"{_CHAT}._get_reasoning_from_request",
        (
            "self",
            "request",
        ),
        f"{_KIMI_CHAT}/request_hooks.py",
        "a request cannot switch the thinking off: the prompt opens it always",
    ),
    "switch_thinking": Seam(
        f"{_CHAT}.apply_reasoning_enabled",
        (
            "self",
            "request",
            "enabled",
        ),
        f"{_KIMI_CHAT}/request_hooks.py",
        "`thinking: disabled` is accepted and served with thinking",
    ),
    "apply_template": Seam(
        f"{_CHAT}._apply_jinja_template",
        ("self", "request", "tools", "is_multimodal"),
        f"{_KIMI_CHAT}/prompt_cost.py",
        "where SGLang itself builds a prompt; timed beside ours",
    ),
    "validate_chat_request": Seam(
        f"{_CHAT}._validate_request",
        (
            "self",
            "request",
        ),
        f"{_KIMI_CHAT}/request_hooks.py",
        "a token limit over the context is lowered instead of refused",
    ),
    "check_token_room": Seam(
        "sglang.srt.managers.tokenizer_manager.TokenizerManager._validate_one_request",
        (
            "self",
            "obj",
            "input_ids",
        ),
        f"{_KIMI_CHAT}/request_hooks.py",
        "a token limit over the room behind the prompt is lowered instead of refused",
    ),
    "chat_sampling_params": Seam(
        f"{_OPENAI}.protocol.ChatCompletionRequest.to_sampling_params",
        (
            "self",
            "stop",
            "model_generation_config",
            "tool_call_constraint",
        ),
        f"{_KIMI_CHAT}/request_hooks.py",
        "calls are held as asked, beside a format too; numbers go into custom_params",
    ),
    "responses_sampling_params": Seam(
        f"{_OPENAI}.protocol.ResponsesRequest.to_sampling_params",
        (
            "self",
            "default_max_tokens",
            "default_params",
            "stop",
            "tool_call_constraint",
        ),
        f"{_KIMI_CHAT}/request_hooks.py",
        "calls are held as asked, beside a format too; numbers go into custom_params",
    ),
    "convert_messages_request": Seam(
        f"{_ANTHROPIC}.serving.AnthropicServing._convert_to_chat_completion_request",
        (
            "self",
            "anthropic_request",
        ),
        f"{_KIMI_CHAT}/request_hooks.py",
        "the conversion drops our field and escapes past arguments",
    ),
    "build_chat_response": Seam(
        f"{_CHAT}._build_chat_response",
        (
            "self",
            "request",
            "ret",
            "created",
        ),
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
        (
            "prompt_tokens",
            "completion_tokens",
        ),
        f"{_KIMI_CHAT}/response_hooks.py",
        "every usage gets `cached_tokens`",
    ),
    "build_error": Seam(
        f"{_OPENAI}.serving_base.OpenAIServingBase.create_error_response",
        (
            "self",
            "message",
        ),
        f"{_KIMI_CHAT}/response_hooks.py",
        "OpenAI's clients look for errors under `error`",
    ),
    "build_responses_error": Seam(
        f"{_OPENAI}.serving_responses.OpenAIServingResponses.create_error_response",
        (
            "self",
            "message",
        ),
        f"{_KIMI_CHAT}/response_hooks.py",
        "the field that an error is about is named in `param` too",
    ),
    "http_app": Seam(
        "sglang.srt.entrypoints.http_server.app",
        (),
        f"{_KIMI_CHAT}/http_app.py",
        "its handlers give validation errors in pydantic's words; no hook gives headers",
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
        (
            "self",
            "request",
        ),
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
        (
            "self",
            "request",
            "prev_response",
            "tokenizer",
        ),
        f"{_KIMI_CHAT}/refusal_hooks.py",
        "the one place between a request of /v1/responses and its stream where a 400 is possible",
    ),
    "convert_chat_response": Seam(
        f"{_ANTHROPIC}.serving.AnthropicServing._convert_response",
        (
            "self",
            "response",
        ),
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
        (
            "reasoning_content",
            "role",
            "content",
        ),
        f"{_KIMI_CHAT}/response_hooks.py",
        "role and finish chunks get `reasoning` too",
    ),
    "convert_chat_request": Seam(
        f"{_CHAT}._convert_to_internal_request",
        (
            "self",
            "request",
            "raw_request",
        ),
        f"{_KIMI_CHAT}/history_hooks.py",
        "headers, request and prompt of chat and messages meet only here",
    ),
    "tokenize_chat": Seam(
        f"{_OPENAI}.serving_tokenize.OpenAIServingTokenize._handle_non_streaming_request",
        (
            "self",
            "adapted_request",
            "request",
            "raw_request",
        ),
        f"{_KIMI_CHAT}/history_hooks.py",
        "a count must know the headers that the prompt depends on",
    ),
    "count_message_tokens": Seam(
        f"{_ANTHROPIC}.serving.AnthropicServing.handle_count_tokens",
        (
            "self",
            "request",
            "raw_request",
        ),
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
        (
            "self",
            "request",
            "raw_request",
        ),
        f"{_KIMI_CHAT}/history_hooks.py",
        "the chat request that is encoded for it holds neither salt nor key nor headers",
    ),
    "generate_response": Seam(
        f"{_OPENAI}.serving_responses.OpenAIServingResponses._generate_with_builtin_tools",
        (
            "self",
            "request_id",
            "request_prompt",
            "adapted_request",
        ),
        f"{_KIMI_CHAT}/history_hooks.py",
        "called inside create_responses with the request that will generate",
    ),
    "generate_request": Seam(
        "sglang.srt.managers.tokenizer_manager.TokenizerManager.generate_request",
        (
            "self",
            "obj",
            "request",
        ),
        f"{_KIMI_CHAT}/history_hooks.py",
        "every output id of every API passes here, also where the client has left",
    ),
    "register_grammar_backend": Seam(
        "sglang.srt.constrained.base_grammar_backend.register_grammar_backend",
        (
            "name",
            "init_func",
        ),
        f"{_KIMI_CHAT}/grammar_requests.py",
        "our grammar backend is used as it is, without SGLang's reasoning wrapper",
    ),
    "grammar_of_request": Seam(
        "sglang.srt.constrained.grammar_manager.GrammarManager.process_req_with_grammar",
        (
            "self",
            "req",
        ),
        f"{_KIMI_CHAT}/grammar_requests.py",
        "a thinking budget alone needs a grammar too",
    ),
    "grammar_is_ready": Seam(
        "sglang.srt.constrained.grammar_manager.GrammarManager._apply_request_reasoning_config",
        (
            "self",
            "req",
        ),
        f"{_KIMI_CHAT}/grammar_requests.py",
        "called once for each request with its own grammar, which then gets the request's numbers",
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
    "grammar_masks": Seam(
        "sglang.srt.constrained.xgrammar_backend.XGrammarGrammar",
        (),
        f"{_KIMI_CHAT}/grammar_backend.py",
        "masks are made, moved and applied as SGLang's own backend does it on each device",
    ),
}

_HOST_MOE = "sglang.srt.layers.moe"
_DEEPEP = "sglang_kimi/moe/deepep.py"

_MARLIN = "sglang_kimi/moe/marlin.py"

MARLIN_SEAMS = {
    "marlin_moe": Seam(
        f"{_HOST_MOE}.fused_moe_triton.fused_marlin_moe.fused_marlin_moe",
        (
            *("hidden_states", "w1", "w2", "w1_scale", "w2_scale", "gating_output"),
            *("topk_weights", "topk_ids"),
        ),
        _MARLIN,
        "SGLang's own method around it refuses float32 and knows the in-tree layer only",
    ),
    "marlin_repack": Seam(
        "sglang.srt.hardware_backend.gpu.quantization.gptq_kernels.gptq_marlin_moe_repack",
        ("b_q_weight", "perm", "size_k", "size_n", "num_bits"),
        _MARLIN,
        "Marlin's weights have a layout of their own",
    ),
    "marlin_scales": Seam(
        "sglang.srt.layers.quantization.marlin_utils.marlin_moe_permute_scales",
        ("s", "size_k", "size_n", "group_size"),
        _MARLIN,
        "and so have its scales",
    ),
    "marlin_workspace": Seam(
        "sglang.srt.layers.quantization.marlin_utils.marlin_make_workspace",
        ("device", "max_blocks_per_sm"),
        _MARLIN,
        "the kernel's locks, as many as SGLang gives it",
    ),
}

DEEPEP_SEAMS = {
    "deepep_mode": Seam(
        f"{_HOST_MOE}.utils.get_deepep_mode",
        (),
        _DEEPEP,
        "normal mode has a condition of its own, see deep_gemm",
    ),
    "deep_gemm": Seam(
        "sglang.srt.layers.deep_gemm_wrapper.ENABLE_JIT_DEEPGEMM",
        (),
        _DEEPEP,
        "without it the combine of normal mode raises NotImplementedError at the first request",
    ),
    "dispatcher_quant_config": Seam(
        f"{_HOST_MOE}.token_dispatcher.deepep.DeepEPDispatcher.set_quant_config",
        ("self", "quant_config"),
        _DEEPEP,
        "the dispatcher quantises tokens to fp8 unless it is told that its experts take bf16",
    ),
    "deepep_normal_input": Seam(
        f"{_HOST_MOE}.token_dispatcher.deepep.DeepEPNormalCombineInput",
        ("hidden_states", "topk_ids", "topk_weights"),
        _DEEPEP,
        "what the combine of normal mode takes",
    ),
    "deepep_low_latency_input": Seam(
        f"{_HOST_MOE}.token_dispatcher.deepep.DeepEPLLCombineInput",
        ("hidden_states", "topk_ids", "topk_weights"),
        _DEEPEP,
        "what the combine of low latency takes",
    ),
}

SCRIPT_SEAMS = {
    "prefilled_ids": Seam(
        "sglang.srt.managers.schedule_batch.Req.get_fill_ids",
        ("self",),
        "sglang_kimi/scripted_output.py",
        "logit processors also run behind each chunk of a prompt, and are not told so",
    ),
}

SEAMS: dict[str, Seam] = {
    **CPU_SEAMS,
    **GPU_SEAMS,
    **MODEL_SEAMS,
    **BENCH_SEAMS,
    **MOE_SEAMS,
    **MARLIN_SEAMS,
    **DEEPEP_SEAMS,
    **CHAT_SEAMS,
    **SCRIPT_SEAMS,
}
