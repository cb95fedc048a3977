"""What the expert-parallel MoE layer touches in SGLang, with its kernels for GPUs."""

from .seam import Seam

_MOE = "sglang_kimi/moe"
_MODEL = "sglang_kimi/models"
_FUSED_MOE = "sglang.srt.layers.moe.fused_moe_triton.layer"
_HOST_MOE = "sglang.srt.layers.moe"
_DEEPEP = "sglang_kimi/moe/deepep.py"
_MARLIN = "sglang_kimi/moe/marlin.py"

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
