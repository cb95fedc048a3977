"""A decoder layer on one rank: the one place that picks its backend.

On the CPU one call of C++ where it runs (see `native.library`): the eight calls that it stands for
take from Python as long as two fifths of their arithmetic for one token. Else plain torch.
"""

import torch
from torch import Tensor

from ..mla.layer import check_step
from ..mla.layer_native import can_run as can_run_mla
from ..mla.layer_step import MlaStep
from ..native.library import native_library
from .layer_native import native_decoder_layer
from .layer_reference import ref_decoder_layer
from .weights import DecoderWeights


def decoder_layer(
    hidden_states: Tensor,
    residual: Tensor,
    weights: DecoderWeights,
    step: MlaStep,
    kv_cache: Tensor,
) -> None:
    """Run a layer on its tokens, in place.

    hidden_states: [num_tokens, hidden_size] float32, contiguous: what the layer before gave (the
                   embedding's rows before the first); becomes what this one gives.
    residual:      the same shape and type: the residual stream without hidden_states (zeros before
                   the first); they and the attention's output are added to it.
    kv_cache:      [num_slots, kv_lora_rank + qk_rope_head_dim], this layer's; written in place.

    Raises ValueError naming the argument that does not fit.
    Source: DeepSeek-V3 report, section 2.1; pre-norm as in the release's code.
    """
    size = weights.qkv_a.shape[1]
    for name, tensor in (("hidden_states", hidden_states), ("residual", residual)):
        is_fit = tensor.dtype == torch.float32 and tensor.is_contiguous()
        if not is_fit or tensor.shape != (step.positions.shape[0], size):
            want = f"contiguous float32 [{step.positions.shape[0]}, {size}]"
            raise ValueError(f"{name}: want {want}, got {tensor.dtype} {[*tensor.shape]}")
    check_step(step, hidden_states.shape[0], weights.mla, kv_cache)
    is_fit = can_run_mla(hidden_states, weights.mla, step, kv_cache) and residual.is_cpu
    if is_fit and weights.native is not None and (library := native_library()):
        return native_decoder_layer(library, hidden_states, residual, weights, step, kv_cache)
    return ref_decoder_layer(hidden_states, residual, weights, step, kv_cache)
