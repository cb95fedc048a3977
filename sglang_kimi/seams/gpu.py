"""What the attention backend for GPUs touches in SGLang."""

from .seam import Seam

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
