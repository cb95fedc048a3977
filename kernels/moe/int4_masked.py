"""INT4 experts over rows that were sorted into a table for each expert: [expert, row, channel].

What DeepEP's low-latency dispatch hands over: room for max_rows rows an expert, of which the first
`num_rows[expert]` are filled. No router weights: the combine at the tokens' home applies them.
"""

import torch
from torch import Tensor

from .int4 import moe_int4
from .int4_experts import AnyInt4Experts
from .int4_gpu import uses_triton


def moe_int4_masked(
    x: Tensor, experts: AnyInt4Experts, num_rows: Tensor, expected_rows: int
) -> Tensor:
    """Apply each local expert to its own rows.

    x:             [num_local_experts, max_rows, hidden_size] bf16 or float32.
    num_rows:      [num_local_experts] int32 or int64, on x's device: filled rows of each expert.
    expected_rows: how many rows an expert has on average, as a hint for tile sizes.

    Returns the same shape and type, newly allocated; rows that were not filled hold anything.
    Raises ValueError naming the argument whose shape or type is wrong.
    """
    want = (experts.num_local_experts, experts.hidden_size)
    if x.dim() != 3 or (x.shape[0], x.shape[2]) != want:
        raise ValueError(f"x: want [{want[0]}, max_rows, {want[1]}], got {[*x.shape]}")
    if num_rows.shape != x.shape[:1] or num_rows.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"num_rows: want [{want[0]}] int32 or int64, got {[*num_rows.shape]} {num_rows.dtype}"
        )
    if uses_triton(experts, x):
        from .int4_triton import triton_moe_int4_masked

        return triton_moe_int4_masked(x, experts, num_rows, expected_rows)
    experts_of_rows = torch.arange(want[0], device=x.device, dtype=torch.int32).unsqueeze(1)
    is_filled = torch.arange(x.shape[1], device=x.device) < num_rows.unsqueeze(1)
    ids = torch.where(is_filled, experts_of_rows, -1).view(-1, 1)
    weights = torch.ones(ids.shape, dtype=torch.float32, device=x.device)
    return moe_int4(x.flatten(0, 1), experts, ids, weights).view(x.shape)
