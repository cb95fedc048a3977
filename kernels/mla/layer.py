"""Absorbed MLA of one layer, all that is between its first product and its residual stream.

The one place that picks its backend: on the CPU one call of C++ where it runs (see
`native.library`), as a dozen calls from Python take half as long as their arithmetic for one token;
else plain torch.
"""

from torch import Tensor

from ..native.library import native_library
from .absorbed_reference import check_batch
from .layer_native import can_run, native_mla_layer
from .layer_reference import ref_mla_layer
from .layer_weights import MlaWeights

__all__ = ["MlaWeights", "mla_layer"]


def mla_layer(
    latents: Tensor,
    weights: MlaWeights,
    positions: Tensor,
    cos_sin_cache: Tensor,
    kv_cache: Tensor,
    new_slots: Tensor,
    req_to_token: Tensor,
    req_pool_indices: Tensor,
    seq_lens: Tensor,
    query_lens: Tensor | None = None,
) -> Tensor:
    """Write a step's latents into the cache and attend its tokens, causally, to their sequences.

    latents:       [num_tokens, q_lora_rank + kv_lora_rank + qk_rope_head_dim] float32 or bfloat16,
                   as the first product gives them: neither normed nor rotated.
    positions:     [num_tokens] int64, rows of cos_sin_cache.
    cos_sin_cache: [max_position, qk_rope_head_dim], cosines then sines of the pairs of neighbours.
    kv_cache:      [num_slots, kv_lora_rank + qk_rope_head_dim], any float dtype; written in place.
    new_slots:     [num_tokens] int64, the rows of kv_cache that the tokens get.
    The last four: as of `absorbed.mla_absorbed_batch`; tokens after those of all sequences are
                   padding, attend to nothing and write to their slots.

    Returns [num_tokens, hidden_size] in the type of latents; sums in float32.
    Raises ValueError naming the argument that does not fit.
    """
    rank, rope = weights.kv_norm.shape[0], weights.rope_dim
    width = weights.q_norm.shape[0] + rank + rope
    if latents.dim() != 2 or latents.shape[1] != width:
        raise ValueError(f"latents: want [num_tokens, {width}] as weights, got {[*latents.shape]}")
    for name, tensor in (("positions", positions), ("new_slots", new_slots)):
        if tensor.shape != latents.shape[:1]:
            raise ValueError(f"{name}: want [{latents.shape[0]}], got {[*tensor.shape]}")
    lengths = (req_to_token, req_pool_indices, seq_lens, query_lens)
    check_batch(latents[:, None, -(rank + rope) :], kv_cache, *lengths)
    arguments = (latents, weights, positions, cos_sin_cache, kv_cache, new_slots, *lengths)
    if can_run(*arguments) and (library := native_library()):
        return native_mla_layer(library, *arguments)
    return ref_mla_layer(*arguments)
