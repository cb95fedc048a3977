"""What configuration, weights and model touch in SGLang, and what runs them without a server."""

from .seam import Seam

_MODEL = "sglang_kimi/models"
_STEP_PROCESS = "sglang_kimi/step_process.py"
_SCHEDULER = "sglang.srt.managers.scheduler.Scheduler"
_RUNNER = "sglang.srt.model_executor.model_runner.ModelRunner"

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

SCRIPT_SEAMS = {
    "prefilled_ids": Seam(
        "sglang.srt.managers.schedule_batch.Req.get_fill_ids",
        ("self",),
        "sglang_kimi/scripted_output.py",
        "logit processors also run behind each chunk of a prompt, and are not told so",
    ),
}
