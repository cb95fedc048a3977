"""The routed experts by SGLang's Marlin kernel: weights in its own layout, bf16 activations.

`SGLANG_KIMI_MOE_KERNEL=auto` takes it on GPUs before Blackwell, as SGLang itself does for this
checkpoint, where the standard dispatcher brings the tokens; our Triton kernels do the rest. Never
run on a GPU by us; what is handed to SGLang is compared with the weights on the CPU.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import torch
from torch import Tensor, nn

from sglang_kimi.kernels.moe.int4 import GROUP_SIZE, Int4Experts
from sglang_kimi.kernels.moe.int4_configs import BLACKWELL
from sglang_kimi.kernels.moe.int4_gpu import MOE_KERNEL, OLDEST, moe_kernel

from ..seams import require

logger = logging.getLogger(__name__)

NUM_BITS: Final = 4
HIDDEN_MULTIPLE: Final = 128  # Marlin's tiles: outputs of the second matrix, inputs of the first
INTER_MULTIPLE: Final = 64
BLOCKS_PER_SM: Final = 4  # as SGLang sizes the kernel's locks


def marlin_is_chosen(
    device: torch.device, dtype: torch.dtype, sizes: tuple[int, int], *, is_standard: bool
) -> bool:
    """Decide for a layer.

    dtype: of the activations; sizes: hidden and this rank's intermediate size; is_standard: whether
    tokens come by the standard dispatcher to experts that stay where they are.
    Raises RuntimeError where Marlin was asked for and cannot be had, ValueError for a wrong word.
    """
    kernel = moe_kernel()
    if kernel not in ("auto", "marlin") or (device.type == "cpu" and kernel == "auto"):
        return False
    why_not = _why_no_marlin(device, dtype, sizes, is_standard)
    if why_not is None and kernel == "auto" and _capability(device) >= BLACKWELL:
        return False  # SGLang's own default leaves Marlin there, too
    if why_not is not None and kernel == "marlin":
        raise RuntimeError(f"{MOE_KERNEL}=marlin: {why_not}; use auto or triton")
    return why_not is None


def _why_no_marlin(
    device: torch.device, dtype: torch.dtype, sizes: tuple[int, int], is_standard: bool
) -> str | None:
    hidden, inter = sizes
    if device.type != "cuda":
        return f"the experts are on {device.type}, and it is a CUDA kernel"
    if _capability(device) < OLDEST:
        return f"compute capability {_capability(device)}, and bf16 needs {OLDEST}"
    if dtype != torch.bfloat16:
        return f"--dtype: want bfloat16, the type of the scales, got {dtype}"
    if hidden % HIDDEN_MULTIPLE or inter % INTER_MULTIPLE:
        return (
            f"hidden and intermediate size {hidden} and {inter}: want multiples of "
            f"{HIDDEN_MULTIPLE} and {INTER_MULTIPLE}"
        )
    if not is_standard:
        return "an all-to-all or moving experts (EPLB) want the checkpoint's layout"
    return None


def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


class MarlinExperts(nn.Module):
    """This rank's experts in Marlin's layout, of the same size as the checkpoint's."""

    def __init__(self, experts: Int4Experts) -> None:
        super().__init__()
        self.hidden_size = experts.hidden_size
        self.w13, self.w13_scale = _repack(experts.w13, experts.w13_scale)
        self.w2, self.w2_scale = _repack(experts.w2, experts.w2_scale)

    def run(self, x: Tensor, local_ids: Tensor, topk_weights: Tensor) -> Tensor:
        """Compute `moe_int4` for bf16 x; the same arguments and result, ids below 0 skipped."""
        if x.shape[0] == 0:
            return torch.zeros_like(x)
        output: Tensor = require("marlin_moe")(
            hidden_states=x.contiguous(),
            w1=self.w13,
            w2=self.w2,
            w1_scale=self.w13_scale,
            w2_scale=self.w2_scale,
            gating_output=topk_weights,  # only its number of rows is looked at
            topk_weights=topk_weights.float(),
            topk_ids=local_ids.int(),
            # Its locks, fresh for each call: calls in one CUDA graph must not share them.
            workspace=require("marlin_workspace")(x.device, max_blocks_per_sm=BLOCKS_PER_SM),
            num_bits=NUM_BITS,
        )
        return output


def _repack(packed: Tensor, scale: Tensor) -> tuple[nn.Parameter, nn.Parameter]:
    """Turn [experts, outputs, inputs / 8] and its scales into Marlin's tiles.

    Marlin starts from GPTQ's layout, which has the same words, inputs first.
    """
    num_experts, size_n, num_words = packed.shape
    size_k = num_words * 32 // NUM_BITS
    no_order = torch.empty(num_experts, 0, dtype=torch.int32, device=packed.device)
    words: Tensor = require("marlin_repack")(
        packed.mT.contiguous(), no_order, size_k, size_n, NUM_BITS
    )
    scales: Tensor = require("marlin_scales")(scale.mT.contiguous(), size_k, size_n, GROUP_SIZE)
    return _parameter(words), _parameter(scales)


def _parameter(tensor: Tensor) -> Any:
    return nn.Parameter(tensor, requires_grad=False)
