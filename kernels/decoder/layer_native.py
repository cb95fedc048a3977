"""A decoder layer in one call of C++ (native/decoder_layer.cpp)."""

import ctypes

import torch
from torch import Tensor

from ..mla.layer_native import raise_for_status
from ..mla.layer_step import MlaStep
from .weights import DecoderWeights


def native_decoder_layer(
    library: ctypes.CDLL,
    hidden_states: Tensor,
    residual: Tensor,
    weights: DecoderWeights,
    step: MlaStep,
    kv_cache: Tensor,
) -> None:
    """Compute `layer.decoder_layer`; arguments and errors as there, checked before."""
    assert weights.native is not None and step.native is not None
    status = library.kimi_decoder_layer(
        *(ctypes.byref(weights.native), ctypes.byref(step.native), kv_cache.data_ptr()),
        *(kv_cache.dtype == torch.bfloat16, kv_cache.shape[0]),
        *(hidden_states.data_ptr(), residual.data_ptr(), torch.get_num_threads()),
    )
    raise_for_status(status, step, kv_cache)
