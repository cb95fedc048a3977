"""What DP attention needs on the CPU platform, where SGLang takes a machine without its CPU engine
for one with CUDA.

SGLang's modules ask `is_cpu()` once, at import, and it says yes only for the engine that
`SGLANG_USE_CPU_ENGINE=1` names; that engine needs a CPU build of sgl_kernel. So each module below
is told, in the order in which a request meets them.
"""

from __future__ import annotations

import pkgutil
from typing import Any

import torch

from ..seams import SEAMS, hook, require

CPU_FLAGS = ("batch_is_cpu", "collectives_are_cpu")


def register_data_parallel() -> None:
    """Let SGLang take its plain torch forms of what DP attention does between ranks."""
    for name in CPU_FLAGS:
        require(name)
        set_module_constant(SEAMS[name].target, True)
    require("dp_copy")
    set_module_constant(SEAMS["dp_copy"].target, require("dp_copy_cpu"))
    hook("reduce_scatterv", reduce_scatter_rows, "replace")


def set_module_constant(target: str, value: Any) -> None:
    """Set the module-level name that the dotted path `target` ends in."""
    module, _, name = target.rpartition(".")
    setattr(pkgutil.resolve_name(module), name, value)


def reduce_scatter_rows(
    group: Any,
    input_: torch.Tensor,
    output: torch.Tensor | None = None,
    sizes: list[int] | None = None,
) -> torch.Tensor:
    """Sum over the group's ranks and return this rank's rows; SGLang's form needs NCCL.

    input_: [sum(sizes), ...], the same shape on every rank; sizes: rows per rank, None for equal
    shares; output: this rank's rows, or None for a new tensor. gloo has no scattering sum of
    unequal parts: its own reduce_scatter is an all-reduce, too.
    """
    if sizes is None:
        sizes = [input_.shape[0] // group.world_size] * group.world_size
    if sum(sizes) != input_.shape[0]:
        raise ValueError(f"sizes: want them to add up to {input_.shape[0]} rows, got {sizes}")
    start = sum(sizes[: group.rank_in_group])
    own = group.all_reduce(input_.clone())[start : start + sizes[group.rank_in_group]]
    return own if output is None else output.copy_(own)
