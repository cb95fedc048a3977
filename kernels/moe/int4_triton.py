"""INT4 routed experts by our Triton kernels, straight on the checkpoint's packed tensors.

bf16 activations, weights expanded to bf16 in registers, float32 sums; the activation between the
two matrices and each (token, slot) pair's output are rounded to bf16, as Marlin's are. No size is
read back from the device: a CUDA graph can record a call.

Imports Triton: only for those who will run it. Never run on a GPU; checked with Triton's
interpreter (TRITON_INTERPRET=1), and compiled for sm_90 and sm_100.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
import triton
from torch import Tensor

from .expert_blocks import ExpertBlocks, blocks_of_masked_rows, blocks_of_pairs
from .int4_configs import Int4Config, Tile, find_config
from .int4_experts import Int4Experts
from .int4_format import NIBBLES_PER_WORD
from .int4_triton_kernels import down_kernel, gate_up_kernel, sum_slots_kernel

SUM_BLOCK: Final = 1024  # channels a program of the last kernel sums


def triton_moe_int4(
    x: Tensor,
    experts: Int4Experts,
    topk_ids: Tensor,
    topk_weights: Tensor,
    config: Int4Config | None = None,
) -> Tensor:
    """Apply the experts; arguments and result as of `int4.moe_int4`, which has checked them.

    An expert number that the rank does not have is skipped: a check would stall the GPU.
    config: None takes the tuned one of this device, experts and number of tokens.
    """
    num_tokens, num_slots = topk_ids.shape
    config = config or find_config(x.device, experts, num_tokens, num_tokens * num_slots)
    blocks = blocks_of_pairs(topk_ids, experts.num_local_experts, config.block_m)
    ids = topk_ids.contiguous()
    weights = topk_weights.float().contiguous()
    outputs = _run_blocks(x, experts, blocks, config, num_slots, weights)
    total = torch.empty(num_tokens, experts.hidden_size, dtype=torch.bfloat16, device=x.device)
    sum_slots_kernel[(num_tokens, triton.cdiv(experts.hidden_size, SUM_BLOCK))](
        *(outputs, ids, total, experts.num_local_experts),
        *(num_slots, experts.hidden_size, x.device.type == "cpu", SUM_BLOCK),
    )
    return total


def triton_moe_int4_masked(
    x: Tensor,
    experts: Int4Experts,
    num_rows: Tensor,
    expected_rows: int,
    config: Int4Config | None = None,
) -> Tensor:
    """Apply each expert to its own rows; arguments and result as of `int4.moe_int4_masked`."""
    num_experts, max_rows, hidden_size = x.shape
    # As many rows an expert as so many tokens bring with top-8 of 384 at 8 ranks.
    expected = expected_rows * num_experts
    config = config or find_config(x.device, experts, expected, expected)
    blocks = blocks_of_masked_rows(num_rows, max_rows, config.block_m)
    outputs = _run_blocks(x.reshape(-1, hidden_size), experts, blocks, config, 1, None)
    return outputs.view(num_experts, max_rows, hidden_size)


def _run_blocks(
    x: Tensor,
    experts: Int4Experts,
    blocks: ExpertBlocks,
    config: Int4Config,
    num_slots: int,
    weights: Tensor | None,
) -> Tensor:
    """Return [num_positions, hidden_size] bf16, rows without an expert unwritten."""
    work = Int4Work(x, experts, blocks, num_slots, weights)
    for kernel, launch in (
        (gate_up_kernel, work.gate_up(config.gate_up)),
        (down_kernel, work.down(config.down)),
    ):
        kernel[launch.grid](*launch.arguments, **launch.options)
    return work.output


@dataclass(frozen=True)
class Launch:
    """What a Triton kernel is called with."""

    grid: tuple[int]
    arguments: tuple[Any, ...]
    options: dict[str, int]


class Int4Work:
    """The tensors of one call, and how the two matrix kernels are launched on them.

    output: [num_positions, hidden_size] bf16, written by the second one.
    """

    def __init__(
        self,
        x: Tensor,
        experts: Int4Experts,
        blocks: ExpertBlocks,
        num_slots: int,
        weights: Tensor | None,
    ) -> None:
        hidden, inter = experts.hidden_size, experts.moe_intermediate_size
        num_positions = x.shape[0] * num_slots
        self.x = x.reshape(x.shape[0], -1, NIBBLES_PER_WORD).mT.contiguous()  # by nibble
        self.activated = x.new_empty(num_positions, inter)
        self.output = x.new_empty(num_positions, hidden)
        self.experts, self.blocks, self.weights = experts, blocks, weights
        self.num_slots = num_slots
        self.maps = (blocks.pair, blocks.expert, blocks.first, blocks.end)
        self.sizes = (hidden, inter)
        self.flags = (blocks.pair is not None, x.device.type == "cpu", blocks.block_m)

    def gate_up(self, tile: Tile) -> Launch:
        """Return the launch of the first matrix product, with SwiGLU."""
        num_tiles = triton.cdiv(self.experts.moe_intermediate_size, tile.block_n)
        weights = (self.experts.w13, self.experts.w13_scale)
        arguments = (self.x, *weights, self.activated, *self.maps, self.num_slots)
        return self._launch(num_tiles, arguments, tile)

    def down(self, tile: Tile) -> Launch:
        """Return the launch of the second matrix product, with the router weights."""
        num_tiles = triton.cdiv(self.experts.hidden_size, tile.block_n)
        weights = (self.experts.w2, self.experts.w2_scale)
        arguments = (self.activated, *weights, self.output, self.weights, *self.maps)
        return self._launch(num_tiles, arguments, tile)

    def _launch(self, num_tiles: int, arguments: tuple[Any, ...], tile: Tile) -> Launch:
        grid = (self.blocks.num_blocks * num_tiles,)
        return Launch(grid, (*arguments, *self.sizes, *self.flags), asdict(tile))
