"""What the CPU needs that SGLang does not choose by itself, applied only where nothing was set."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

# Read by libgomp and glibc when a process starts, so set before the schedulers are spawned.
PROCESS_ENVIRONMENT = {
    # Threads that spin for long take the cores that the tokenizer needs; those that sleep at once
    # cost two milliseconds a step in waking them. So they spin for a tenth of a millisecond.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "30000",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),  # else every large tensor is a fresh mmap
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "TORCH_COMPILE_DISABLE": "1",  # compiling top-k for the CPU delays the first request by 20 s
}
SMALL_MODEL_HIDDEN_SIZE = 1024  # below this one thread beats the cost of waking others
KV_CACHE_TOKENS = 262144  # one full context of the model


def set_process_environment() -> None:
    """Set the environment that scheduler processes inherit, keeping what the user set."""
    for name, value in PROCESS_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def apply_cpu_defaults(server_args: Any) -> None:
    """Default graphs, memory, threads, activation type and waiting for a server on the CPU.

    server_args: SGLang's record of arguments; only fields at their own default are written.
    """
    if server_args.dtype == "auto":
        server_args.dtype = "float32"  # bf16 products are 6-12 times slower without AVX-512
    server_args.disable_cuda_graph = True
    server_args.sleep_on_idle = True
    if server_args.max_total_tokens is None:
        server_args.max_total_tokens = KV_CACHE_TOKENS
    if server_args.max_running_requests is None:
        server_args.max_running_requests = 32
    if server_args.chunked_prefill_size is None:
        server_args.chunked_prefill_size = 2048
    num_ranks = server_args.tp_size * server_args.pp_size
    if num_ranks > 1:  # SGLang wants a NUMA node for every rank unless told which cores
        os.environ.setdefault("SGLANG_CPU_OMP_THREADS_BIND", bind_string(num_ranks))
    if Path(server_args.model_path).is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        threads = num_threads(Path(server_args.model_path), num_ranks)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def bind_string(num_ranks: int) -> str:
    """Return SGLang's core list: one group of cores per rank, `0-3|4-7`."""
    cores = sorted(os.sched_getaffinity(0))
    share = max(1, len(cores) // num_ranks)
    groups = [
        cores[(rank * share) % len(cores) :][:share] or cores[:share] for rank in range(num_ranks)
    ]
    return "|".join(",".join(str(core) for core in group) for group in groups)


def num_threads(model: Path, num_ranks: int) -> int:
    """Return OpenMP threads for one rank: one for small models, else its share of the cores."""
    try:
        config = json.loads((model / "config.json").read_text())
        hidden_size = (config.get("text_config") or config)["hidden_size"]
    except (OSError, ValueError, KeyError):
        hidden_size = SMALL_MODEL_HIDDEN_SIZE  # what is wrong with the folder is SGLang's to say
    if hidden_size < SMALL_MODEL_HIDDEN_SIZE:
        return 1
    return max(1, len(os.sched_getaffinity(0)) // num_ranks)
