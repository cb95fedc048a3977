"""Where the routed experts of a layer lie: mapped from their files, or copied to the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..checkpoint import is_moe_layer
from ..environment import CPU_EXPERT_LAYERS, cpu_expert_layers


def experts_lie_apart(layer_id: int, device_type: str, tp_size: int) -> bool:
    """Say whether each expert's tensors are kept one by one, where they lie in their file.

    So on the CPU, unless an expert is split over `tp_size` ranks: columns of a mapped matrix are no
    matrix. On a GPU only in the layers that `SGLANG_KIMI_CPU_EXPERT_LAYERS` names.
    Raises ValueError for a named layer with split experts.
    """
    is_named = device_type != "cpu" and layer_id in cpu_expert_layers()
    if is_named and tp_size > 1:
        raise ValueError(
            f"{CPU_EXPERT_LAYERS}: experts that stay on the CPU cannot be split over {tp_size} "
            "ranks; give each rank whole ones with --ep-size equal to --tp-size"
        )
    return is_named or (device_type == "cpu" and tp_size == 1)


def check_cpu_expert_layers(text_config: Mapping[str, Any], *, has_graphs: bool) -> None:
    """Compare `SGLANG_KIMI_CPU_EXPERT_LAYERS` with the model.

    has_graphs: whether decode steps will be CUDA graphs, which cannot hold the CPU's work.
    Raises ValueError for a layer that has no routed experts, and where there are graphs.
    """
    named = cpu_expert_layers()
    moe_layers = {
        layer_id
        for layer_id in range(text_config["num_hidden_layers"])
        if is_moe_layer(text_config, layer_id)
    }
    if wrong := sorted(named - moe_layers):
        raise ValueError(
            f"{CPU_EXPERT_LAYERS}: layer {wrong[0]} has no routed experts; "
            f"this model has them in {min(moe_layers)} to {max(moe_layers)}"
        )
    if named and has_graphs:
        raise ValueError(
            f"{CPU_EXPERT_LAYERS}: experts on the CPU cannot be part of a CUDA graph; "
            "start with --disable-cuda-graph, or unset the variable"
        )
