"""Absorbed MLA: the one place that picks its backend."""

from torch import Tensor

from .absorbed_reference import ref_mla_absorbed


def mla_absorbed(
    query: Tensor, kv_cache: Tensor, slots: Tensor, *, scaling: float, kv_lora_rank: int
) -> Tensor:
    """Attend the last tokens of one sequence to all of it; shapes as in `ref_mla_absorbed`."""
    return ref_mla_absorbed(query, kv_cache, slots, scaling=scaling, kv_lora_rank=kv_lora_rank)
