"""What DP attention needs on the CPU platform, where SGLang takes a machine without its CPU engine
for one with CUDA.

SGLang's modules ask `is_cpu()` once, at import, and it says yes only for the engine that
`SGLANG_USE_CPU_ENGINE=1` names; that engine needs a CPU build of sgl_kernel. So each module below
is told, in the order in which a request meets them.
"""

from __future__ import annotations

from typing import Any

import torch

from ..seams import require, substitute


def prepare_data_parallel() -> None:
    """Let SGLang take its plain torch forms of what DP attention does between ranks.

    Called where a scheduler builds its attention: other processes are spared the imports.
    """
    substitute("batch_is_cpu", True)
    substitute("collectives_are_cpu", True)
    substitute("dp_copy", require("dp_copy_cpu"))
    substitute("reduce_scatterv", reduce_scatter_rows)


def reduce_scatter_rows(
    self: Any,
    input_: torch.Tensor,
    output: torch.Tensor | None = None,
    sizes: list[int] | None = None,
) -> torch.Tensor:
    """Sum over the ranks of a group (`self`) and return this rank's rows; SGLang's needs NCCL.

    input_: [sum(sizes), ...], the same shape on every rank; sizes: rows per rank, None for equal
    shares; output: this rank's rows, or None for a new tensor. gloo has no scattering sum of
    unequal parts: its own reduce_scatter is an all-reduce, too.
    """
    if sizes is None:
        sizes = [input_.shape[0] // self.world_size] * self.world_size
    if sum(sizes) != input_.shape[0]:
        raise ValueError(f"sizes: want them to add up to {input_.shape[0]} rows, got {sizes}")
    start = sum(sizes[: self.rank_in_group])
    own = self.all_reduce(input_.clone())[start : start + sizes[self.rank_in_group]]
    return own if output is None else output.copy_(own)
