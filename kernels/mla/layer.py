"""Absorbed MLA of one layer, all that is between its first product and its residual stream.

The one place that picks its backend: on the CPU one call of C++ where it runs (see
`native.library`), as a dozen calls from Python take half as long as their arithmetic for one token;
else plain torch.
"""

from torch import Tensor

from ..native.library import native_library
from .layer_native import can_run, native_mla_layer
from .layer_reference import ref_mla_layer
from .layer_step import MlaStep
from .layer_weights import MlaWeights

__all__ = ["MlaStep", "MlaWeights", "check_step", "mla_layer"]


def mla_layer(latents: Tensor, weights: MlaWeights, step: MlaStep, kv_cache: Tensor) -> Tensor:
    """Write a step's latents into the cache and attend its tokens, causally, to their sequences.

    latents:  [num_tokens, q_lora_rank + kv_lora_rank + qk_rope_head_dim] float32 or bfloat16, as
              the first product gives them: neither normed nor rotated.
    kv_cache: [num_slots, kv_lora_rank + qk_rope_head_dim], any float dtype; written in place.

    Returns [num_tokens, hidden_size] in the type of latents; sums in float32.
    Raises ValueError naming the argument that does not fit.
    """
    width = weights.q_norm.shape[0] + weights.kv_norm.shape[0] + weights.rope_dim
    if latents.dim() != 2 or latents.shape[1] != width:
        raise ValueError(f"latents: want [num_tokens, {width}] as weights, got {[*latents.shape]}")
    check_step(step, latents.shape[0], weights, kv_cache)
    if can_run(latents, weights, step, kv_cache) and (library := native_library()):
        return native_mla_layer(library, latents, weights, step, kv_cache)
    return ref_mla_layer(latents, weights, step, kv_cache)


def check_step(step: MlaStep, num_tokens: int, weights: MlaWeights, kv_cache: Tensor) -> None:
    """Raise ValueError, naming what does not fit, unless a step fits its tokens and the cache."""
    if step.positions.shape[0] != num_tokens:
        got = [*step.positions.shape]
        raise ValueError(f"positions, new_slots: want [{num_tokens}] of both, got {got}")
    width = weights.kv_norm.shape[0] + weights.rope_dim
    if kv_cache.dim() != 2 or kv_cache.shape[1] != width:
        raise ValueError(f"kv_cache: want [num_slots, {width}], got {[*kv_cache.shape]}")
