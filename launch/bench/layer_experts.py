"""One MoE layer's routed experts of a checkpoint folder, mapped; and their sum in float64."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sglang_kimi.checkpoint import EXPERT_PROJECTIONS, TEXT_PREFIX, CheckpointError, is_moe_layer
from sglang_kimi.checkpoint_files import read_header, read_text_config, shard_files
from sglang_kimi.kernels.moe.int4 import SeparateInt4Experts, dequantize_int4
from sglang_kimi.mapped_shard import mapped_text_tensors

ROWS_AT_ONCE = 512  # of a matrix in float64: 29 MB at a hidden size of 7168


@dataclass(frozen=True)
class MappedLayer:
    """One layer's experts as the kernels take them, with what routes to them."""

    layer_id: int
    experts: SeparateInt4Experts
    top_k: int
    shards: tuple[Path, ...]

    @property
    def expert_bytes(self) -> int:
        """Return the bytes of one expert."""
        return sum(tensor.nbytes for tensor in self.experts.one(0))


def map_layer(directory: Path, layer_id: int | None) -> MappedLayer:
    """Map the experts of one layer, the first with experts if `layer_id` is None.

    Reads headers only. Raises CheckpointError for a layer without routed experts or with tensors
    missing, OSError and ValueError for a folder that is no checkpoint.
    """
    config = read_text_config(directory)
    moe_layers = [i for i in range(config["num_hidden_layers"]) if is_moe_layer(config, i)]
    if layer_id is None and moe_layers:
        layer_id = moe_layers[0]
    if layer_id not in moe_layers:
        raise CheckpointError(f"layer {layer_id} has no routed experts, layers with: {moe_layers}")
    prefix = f"{TEXT_PREFIX}model.layers.{layer_id}.mlp.experts."
    shards = tuple(
        shard
        for shard in shard_files(directory)
        if any(name.startswith(prefix) for name in read_header(shard))
    )
    tensors = {name: tensor for shard in shards for name, tensor in mapped_text_tensors(shard)}
    try:
        gate, gate_scale, up, up_scale, down, down_scale = (
            [tensors[f"{prefix}{i}.{projection}.{kind}"] for i in range(config["n_routed_experts"])]
            for projection in EXPERT_PROJECTIONS
            for kind in ("weight_packed", "weight_scale")
        )
    except KeyError as missing:
        raise CheckpointError(f"tensor {missing.args[0]} is missing") from None
    experts = SeparateInt4Experts(gate, gate_scale, up, up_scale, down, down_scale)
    return MappedLayer(layer_id, experts, config["num_experts_per_tok"], shards)


def drop_from_page_cache(shards: tuple[Path, ...]) -> None:
    """Ask the kernel to forget the files' pages, so that they are read from the disk again."""
    for shard in shards:
        descriptor = os.open(shard, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def exact_sum(experts: SeparateInt4Experts, x: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    """Return one token's weighted sum of experts in float64.

    x: [hidden_size]; ids, weights: [top_k]. Returns [hidden_size].
    """
    output = torch.zeros(experts.hidden_size, dtype=torch.float64)
    for expert_id, weight in zip(ids.tolist(), weights.tolist(), strict=True):
        tensors = experts.one(expert_id)
        gate = _exact_product(tensors.gate, tensors.gate_scale, x.double())
        up = _exact_product(tensors.up, tensors.up_scale, x.double())
        inner = torch.nn.functional.silu(gate) * up
        output += weight * _exact_product(tensors.down, tensors.down_scale, inner)
    return output


def _exact_product(packed: Tensor, scale: Tensor, x: Tensor) -> Tensor:
    blocks = [slice(i, i + ROWS_AT_ONCE) for i in range(0, packed.shape[0], ROWS_AT_ONCE)]
    return torch.cat([dequantize_int4(packed[rows], scale[rows]).double() @ x for rows in blocks])
