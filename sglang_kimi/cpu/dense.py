"""Dense weights of a CPU server: bf16 as in the checkpoint, whatever the activations are.

SGLang makes weights in `--dtype`, so float32 activations would double the bytes of every dense
matrix, and a decode step is the reading of them. The numbers are the same: they are bf16 on disk.
"""

from __future__ import annotations

from typing import Any

import torch
from sglang.srt.layers.linear import LinearBase
from sglang.srt.layers.quantization.unquant import (
    UnquantizedEmbeddingMethod,
    UnquantizedLinearMethod,
)
from sglang.srt.layers.vocab_parallel_embedding import VocabParallelEmbedding
from torch import Tensor, nn

from sglang_kimi.kernels.linear.bf16 import bf16_linear


class Bf16LinearMethod(UnquantizedLinearMethod):  # type: ignore[misc]
    """Multiply with a layer's bf16 weight; the result has the activations' type."""

    def apply(self, layer: Any, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return x [*, in_features] times the weight [out_features, in_features], plus bias."""
        product = bf16_linear(x, layer.weight)
        return product if bias is None else product.add_(bias)


class Bf16EmbeddingMethod(UnquantizedEmbeddingMethod):  # type: ignore[misc]
    """The embedding and the head of a vocabulary with a bf16 weight.

    dtype: what looked-up rows are turned to, the activations' type.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def apply(self, layer: Any, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return x [*, hidden_size] times the weight [vocab_size, hidden_size], plus bias."""
        product = bf16_linear(x, layer.weight)
        return product if bias is None else product.add_(bias)

    def embedding(self, layer: Any, input_: Tensor) -> Tensor:
        """Return the rows of the ids [num_tokens] in the activations' type."""
        return nn.functional.embedding(input_, layer.weight).to(self.dtype)


def keep_dense_weights_in_bf16(model: nn.Module) -> None:
    """Give every unquantised linear layer, embedding and head of a model a bf16 weight.

    Call between construction and loading: the weights' contents are lost, their loaders stay.
    """
    for module in model.modules():
        if isinstance(module, LinearBase):
            if type(module.quant_method) is UnquantizedLinearMethod:
                module.quant_method = Bf16LinearMethod()
                module.weight = _as_bf16(module.weight)
        elif isinstance(module, VocabParallelEmbedding):
            if type(module.quant_method) is not UnquantizedEmbeddingMethod:
                continue
            module.quant_method = Bf16EmbeddingMethod(module.weight.dtype)
            module.weight = _as_bf16(module.weight)


def _as_bf16(weight: nn.Parameter) -> nn.Parameter:
    """Return an empty parameter of the same shape that loads as this one."""
    other = nn.Parameter(torch.empty_like(weight, dtype=torch.bfloat16), requires_grad=False)
    for name, value in vars(weight).items():
        setattr(other, name, value)
    return other
