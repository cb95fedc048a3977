"""What the CPU platform touches in SGLang."""

from .seam import Seam

_CPU = "sglang_kimi/cpu"

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
