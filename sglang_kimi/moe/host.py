"""Routed experts on the CPU under a model on a GPU: tokens come over, their weighted sums go back.

Three small copies a layer (30 kB a token in all at hidden 7168) stand against weights that never
leave the CPU's memory. Never run on a GPU.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor

from sglang_kimi.kernels.moe.int4 import AnyInt4Experts, moe_int4


def moe_int4_on_host(
    x: Tensor, experts: AnyInt4Experts, topk_ids: Tensor, topk_weights: Tensor
) -> Tensor:
    """Compute `moe_int4` with experts on the CPU for tokens on another device.

    Arguments and result as there, on x's device. Waits for the device: the CPU has to see the ids.
    Raises RuntimeError while a CUDA graph is recorded, which would replay none of it.
    """
    if x.is_cuda and torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            "experts on the CPU cannot be part of a CUDA graph; start with --disable-cuda-graph"
        )
    on_host = [_to_host(tensor) for tensor in (x, topk_ids, topk_weights)]
    if x.is_cuda:
        torch.cuda.current_stream(x.device).synchronize()
    output = moe_int4(on_host[0], experts, on_host[1], on_host[2])
    return _to_host(output, pin=x.is_cuda).to(x.device, non_blocking=True)


def use_cores(num_ranks: int) -> None:
    """Give this process its share of the machine's cores: SGLang leaves one thread beside a GPU.

    num_ranks: ranks on this machine. OMP_NUM_THREADS decides where it is set; cores are those the
    process is bound to, all of them if it is bound to fewer than the machine has.
    """
    named = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0))
    is_bound = cores < (os.cpu_count() or cores)
    share = cores if is_bound else max(1, cores // num_ranks)
    torch.set_num_threads(int(named) if named.isdigit() and int(named) else share)


def _to_host(tensor: Tensor, *, pin: bool | None = None) -> Tensor:
    """Return a copy in pinned memory where the tensor's device reads such memory."""
    copy = torch.empty(
        tensor.shape,
        dtype=tensor.dtype,
        device="cpu",
        pin_memory=tensor.is_cuda if pin is None else pin,
    )
    return copy.copy_(tensor, non_blocking=True)
