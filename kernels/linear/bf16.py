"""Products with bfloat16 weights and float32 sums: the one place that picks the backend.

On the CPU our C++ kernel where it runs (see `native.library`), else plain torch on any device.
"""

from torch import Tensor

from ..native.library import native_library
from .bf16_native import can_run, native_bf16_bmm
from .bf16_reference import check_bmm, check_linear, ref_bf16_bmm, ref_bf16_linear


def bf16_linear(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply activations with a weight matrix as `torch.nn.functional.linear` does.

    x:      [*, in_features] float32 or bfloat16, any strides.
    weight: [out_features, in_features] bfloat16, as in the checkpoint.

    Returns [*, out_features] in x's type, newly allocated; products and sums in float32.
    Raises ValueError naming the argument whose shape or type is wrong.
    """
    check_linear(x, weight)
    if can_run(x, weight) and (library := native_library()):
        rows = x.reshape(1, -1, x.shape[-1])
        output = native_bf16_bmm(library, rows, weight.unsqueeze(0))
        return output.view(*x.shape[:-1], weight.shape[0])
    return ref_bf16_linear(x, weight)


def bf16_bmm(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply batch by batch as `torch.bmm` does; absorbed MLA's `w_kc` and `w_vc` per head.

    x:      [batch, num_tokens, in_features] float32 or bfloat16, any strides.
    weight: [batch, in_features, out_features] bfloat16; the kernel takes it where its transpose
            `weight.mT` is contiguous, else plain torch does the work.

    Returns [batch, num_tokens, out_features] in x's type; products and sums in float32.
    Its memory is [num_tokens, batch, out_features], as the next layer takes it.
    Raises ValueError naming the argument whose shape or type is wrong.
    """
    check_bmm(x, weight)
    if can_run(x, weight.mT) and (library := native_library()):
        return native_bf16_bmm(library, x, weight.mT)
    return ref_bf16_bmm(x, weight)
