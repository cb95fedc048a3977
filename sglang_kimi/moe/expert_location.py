"""Which experts a rank holds: SGLang's placement, which may repeat some (EPLB, redundant experts).

A layer has `n_routed_experts` logical experts, which the checkpoint and the router know, and as
many physical ones plus `--ep-num-redundant-experts`: slots, dealt to the ranks in equal blocks.
"""

from __future__ import annotations

from typing import Any

from sglang.srt.eplb.expert_location import get_global_expert_location_metadata
from sglang.srt.runtime_context import get_exec, get_parallel


def num_physical_experts(num_logical_experts: int) -> int:
    """Return the number of slots of one layer over all ranks.

    Raises ValueError where they cannot be dealt out evenly.
    """
    num_redundant = get_exec().moe.ep_num_redundant_experts
    num_slots = int(num_logical_experts + num_redundant)
    num_ranks = get_parallel().moe_ep_size
    if num_slots % num_ranks:
        redundant = f" and --ep-num-redundant-experts {num_redundant}" if num_redundant else ""
        raise ValueError(
            f"n_routed_experts={num_logical_experts}{redundant} cannot be split over "
            f"{num_ranks} ranks in multiples of 1; use a --tp-size / --ep-size that divides it"
        )
    return num_slots


def experts_move() -> bool:
    """Say whether SGLang moves experts between ranks while it serves (--enable-eplb)."""
    return bool(get_exec().moe.enable_eplb)


def local_experts(num_logical_experts: int, layer_id: int) -> tuple[int, ...]:
    """Return the logical expert of each of this rank's slots, in the slots' order."""
    num_slots = num_physical_experts(num_logical_experts)
    metadata: Any = get_global_expert_location_metadata()
    if metadata is None:
        logical = [slot % num_logical_experts for slot in range(num_slots)]
    else:
        logical = metadata.physical_to_logical_map_cpu[layer_id].tolist()
    parallel = get_parallel()
    share = num_slots // parallel.moe_ep_size
    return tuple(logical[parallel.moe_ep_rank * share : (parallel.moe_ep_rank + 1) * share])


def local_slots(num_logical_experts: int, layer_id: int) -> dict[int, list[int]]:
    """Return the slots of each expert that this rank holds now, by its number in the checkpoint."""
    slots: dict[int, list[int]] = {}
    for slot, expert_id in enumerate(local_experts(num_logical_experts, layer_id)):
        slots.setdefault(expert_id, []).append(slot)
    return slots
