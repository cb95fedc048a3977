"""Which kernel runs the INT4 experts of tensors on a GPU, chosen once.

`SGLANG_KIMI_MOE_KERNEL`: `auto` (default) takes Triton where it can run, else plain torch; `triton`
and `torch` take just that. `marlin` is SGLang's kernel with weights of its own layout: the layer in
`sglang_kimi.moe` calls it, and what this package is still asked for goes as with `auto`.
"""

import functools
import logging
import os
from typing import Final, Literal, TypeGuard, get_args

import torch
from torch import Tensor

from .int4_experts import AnyInt4Experts, Int4Experts
from .int4_format import GROUP_SIZE

logger = logging.getLogger(__name__)

MoeKernel = Literal["auto", "marlin", "triton", "torch"]

MOE_KERNEL: Final = "SGLANG_KIMI_MOE_KERNEL"
OLDEST: Final = (8, 0)  # bf16 tensor cores


def moe_kernel() -> MoeKernel:
    """Return what the operator asked for; ValueError for another word."""
    text = os.environ.get(MOE_KERNEL, "").strip() or "auto"
    for name in get_args(MoeKernel):
        if text == name:
            return text  # type: ignore[return-value]  # one of the literals
    raise ValueError(f"{MOE_KERNEL}: want one of {', '.join(get_args(MoeKernel))}, got {text!r}")


def uses_triton(experts: AnyInt4Experts, x: Tensor) -> TypeGuard[Int4Experts]:
    """Return whether the Triton kernels take this call.

    Raises RuntimeError if they were asked for and cannot run here, ValueError if they cannot take
    these tensors.
    """
    if not x.is_cuda or not triton_is_chosen(moe_kernel(), x.device.index or 0):
        return False
    unfit = unfit_for_triton(x, experts)
    if unfit and moe_kernel() == "triton":
        raise ValueError(f"{MOE_KERNEL}=triton: {unfit}; use auto or torch")
    return not unfit


@functools.cache
def triton_is_chosen(kernel: MoeKernel, device_index: int) -> bool:
    """Decide once for each device, and say why; RuntimeError if Triton was asked for in vain."""
    if kernel == "torch":
        logger.info("INT4 experts on the GPU: plain torch, as %s says", MOE_KERNEL)
        return False
    why_not = _why_no_triton(device_index)
    if why_not is None:
        logger.info("INT4 experts on the GPU: Triton kernels (%s=%s)", MOE_KERNEL, kernel)
        return True
    if kernel == "triton":
        raise RuntimeError(f"{MOE_KERNEL}=triton: {why_not}; use auto or torch")
    logger.warning("INT4 experts on the GPU: plain torch, very slow: %s", why_not)
    return False


def unfit_for_triton(x: Tensor, experts: AnyInt4Experts) -> str:
    """Return what the kernels cannot take about these tensors, empty if nothing."""
    if x.dtype != torch.bfloat16:
        return f"x: want bfloat16, got {x.dtype}"
    if not isinstance(experts, Int4Experts):
        return f"experts: want stacked tensors (Int4Experts), got {type(experts).__name__}"
    if experts.group_size != GROUP_SIZE:
        return f"group_size: want {GROUP_SIZE}, got {experts.group_size}"
    for name in ("w13", "w13_scale", "w2", "w2_scale"):
        if not getattr(experts, name).is_contiguous():
            return f"{name}: want a contiguous tensor"
    return ""


def _why_no_triton(device_index: int) -> str | None:
    try:
        import triton  # noqa: F401
    except ImportError as error:
        return f"Triton cannot be imported ({error})"
    capability = torch.cuda.get_device_capability(device_index)
    if capability < OLDEST:
        return f"compute capability {capability}, and bf16 needs {OLDEST}"
    return None
