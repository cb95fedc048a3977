"""Checkpoint tensors to parameters, by exact name; anything missing, unknown or misshapen stops.

Names are the checkpoint's (FORMAT section 1.3); modules carry the same ones without
`language_model.`, except three fusions: q_a_proj and kv_a_proj_with_mqa are rows of one matrix,
gate_proj and up_proj are shards of one, and experts' tensors are slices of stacked ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .checkpoint import TEXT_PREFIX, CheckpointError, TensorSpec, is_vision_tensor, text_tensors

Place = Callable[[Tensor], None]

EXPERT = re.compile(r"(model\.layers\.\d+\.mlp\.experts)\.(\d+)\.(\w+)\.(\w+)")
LAYER = re.compile(r"model\.layers\.(\d+)\.")
STORED = {"BF16": torch.bfloat16, "F32": torch.float32, "I32": torch.int32}


def load_weights(
    model: Any, weights: Iterable[tuple[str, Tensor]], *, must_be_complete: bool
) -> None:
    """Copy each tensor to its place in `model`.

    must_be_complete: False when an operator updates some weights of a running model.
    Raises CheckpointError naming the tensor, the expected and the found shape.
    """
    expected = text_tensors(model.config.text_config.to_dict())
    modules = dict(model.named_modules())
    seen: set[str] = set()
    for name, tensor in weights:
        if is_vision_tensor(name):
            continue
        check_tensor(name, tuple(tensor.shape), tensor.dtype, expected)
        seen.add(name)
        place = find_place(model, modules, name.removeprefix(TEXT_PREFIX))
        if place is not None:
            place(tensor)
    missing = expected.keys() - seen
    if must_be_complete and missing:
        first = min(missing)
        raise CheckpointError(
            f"tensor {first} is missing, expected shape {[*expected[first].shape]}; "
            f"{len(missing)} missing in all"
        )


def check_tensor(
    name: str, shape: tuple[int, ...], dtype: torch.dtype, expected: Mapping[str, TensorSpec]
) -> None:
    """Compare one tensor with the table; floats may come in any float type (weight updates do)."""
    spec = expected.get(name)
    if spec is None:
        raise CheckpointError(f"tensor {name} is unknown to this architecture, found {[*shape]}")
    wanted = STORED[spec.dtype]
    same_type = dtype == wanted or (dtype.is_floating_point and wanted.is_floating_point)
    if shape != spec.shape or not same_type:
        raise CheckpointError(
            f"tensor {name}: expected {[*spec.shape]} {wanted}, found {[*shape]} {dtype}"
        )


def find_place(model: Any, modules: Mapping[str, nn.Module], name: str) -> Place | None:
    """Return what copies the tensor `name` to this rank, None where another rank holds it."""
    layer = LAYER.match(name)
    if layer and not model.start_layer <= int(layer[1]) < model.end_layer:
        return None
    expert = EXPERT.fullmatch(name)
    if expert:
        experts: Any = modules[expert[1]]
        return lambda tensor: experts.load(int(expert[2]), expert[3], expert[4], tensor)
    owner, _, leaf = name.rpartition(".")
    parent, _, projection = owner.rpartition(".")
    if projection in ("q_a_proj", "kv_a_proj_with_mqa"):
        return place_in_fused_a(modules[parent], projection)
    if projection in ("gate_proj", "up_proj"):
        weight: Any = modules[f"{parent}.gate_up_proj"].weight
        return lambda tensor: weight.weight_loader(weight, tensor, int(projection == "up_proj"))
    module = modules.get(owner)
    parameter: Any = getattr(module, leaf, None)
    if parameter is None:
        return None  # embedding, norm and head of another pipeline stage
    loader = getattr(parameter, "weight_loader", None)
    if loader is not None:
        return lambda tensor: loader(parameter, tensor)
    return lambda tensor: parameter.data.copy_(tensor)


def place_in_fused_a(attention: Any, projection: str) -> Place:
    """Return what copies q_a_proj or kv_a_proj_with_mqa to its rows of the fused matrix."""
    weight = attention.fused_qkv_a_proj_with_mqa.weight
    rank: int = attention.q_lora_rank
    rows = slice(0, rank) if projection == "q_a_proj" else slice(rank, None)
    return lambda tensor: weight.data[rows].copy_(tensor)
