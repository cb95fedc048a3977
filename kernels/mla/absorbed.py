"""Absorbed MLA: the one place that picks its backend."""

from torch import Tensor

from ..native.library import native_library
from .absorbed_native import can_run, native_mla_absorbed
from .absorbed_reference import ref_mla_absorbed


def mla_absorbed(
    query: Tensor, kv_cache: Tensor, slots: Tensor, *, scaling: float, kv_lora_rank: int
) -> Tensor:
    """Attend the last tokens of one sequence to all of it; shapes as in `ref_mla_absorbed`.

    On the CPU by the C++ kernel where it runs (see `native.library`), else in plain torch.
    """
    if can_run(query, kv_cache, slots, kv_lora_rank) and (library := native_library()):
        return native_mla_absorbed(
            library, query, kv_cache, slots, scaling=scaling, kv_lora_rank=kv_lora_rank
        )
    return ref_mla_absorbed(query, kv_cache, slots, scaling=scaling, kv_lora_rank=kv_lora_rank)
