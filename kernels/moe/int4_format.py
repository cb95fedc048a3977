"""The checkpoint's INT4 layout: pack, unpack, quantise and dequantise on torch tensors.

compressed-tensors "pack-quantized" (FORMAT section 1.4), along the last dimension:

    int32 word  | code 7 | code 6 | code 5 | code 4 | code 3 | code 2 | code 1 | code 0 |
                 31    28                                                        3     0
    code = q + 8 (excess-8, 0..15), q = -8..7, weight = q * scale[k // 32], scales bf16

As little-endian bytes: the low nibble of byte i is input 2i, the high nibble input 2i + 1.
Knows nothing of experts, files or devices.
"""

from typing import Final

import torch
from torch import Tensor

GROUP_SIZE: Final = 32  # inputs that share one scale
NIBBLES_PER_WORD: Final = 8
Q_MIN: Final = -8
Q_MAX: Final = 7
EXCESS: Final = 8


def pack_int4(q: Tensor) -> Tensor:
    """Pack signed 4-bit integers, eight a word, lowest bits first.

    q: [*, num_inputs] any integer type, each -8..7.

    Returns [*, num_inputs // 8] int32, newly allocated.
    Raises ValueError if num_inputs is no multiple of 8 or a value does not fit.
    """
    if q.shape[-1] % NIBBLES_PER_WORD:
        raise ValueError(f"q: last dimension must be a multiple of 8, got {[*q.shape]}")
    if q.numel() and (int(q.min()) < Q_MIN or int(q.max()) > Q_MAX):
        raise ValueError(f"q: values must be -8..7, got {int(q.min())}..{int(q.max())}")
    codes = (q + EXCESS).to(torch.uint8)
    octets = codes[..., 0::2] | codes[..., 1::2] << 4
    return octets.contiguous().view(torch.int32)  # a permuted q would leave its strides here


def unpack_int4(packed: Tensor) -> Tensor:
    """Return the signed integers that `pack_int4` packed.

    packed: [*, num_words] int32.

    Returns [*, 8 * num_words] int8, newly allocated.
    """
    nibbles = _nibble_pairs(packed)
    q = torch.stack(nibbles, dim=-1).flatten(-2).view(torch.int8)
    return q.sub_(EXCESS)


def dequantize_int4(packed: Tensor, scale: Tensor) -> Tensor:
    """Expand packed weights to float32.

    packed: [*, num_inputs // 8] int32.
    scale:  [*, num_inputs // group_size] of any float type; the group size follows from the shapes.

    Returns [*, num_inputs] float32, newly allocated: four bytes a weight, so ask for a slice.
    Raises ValueError if the scales do not divide the inputs into whole groups.
    """
    num_inputs = packed.shape[-1] * NIBBLES_PER_WORD
    num_groups = scale.shape[-1]
    if scale.shape[:-1] != packed.shape[:-1] or num_groups == 0 or num_inputs % num_groups:
        raise ValueError(
            f"scale: want {[*packed.shape[:-1]]} x groups that divide {num_inputs} inputs, "
            f"got {[*scale.shape]}"
        )
    # Two strided writes from bytes are twice as fast as shifting whole words (0.3 against 0.55 ms
    # for 524288 weights on two Zen 3 cores): eight times less data to shift.
    weight = torch.empty(*packed.shape[:-1], num_inputs, dtype=torch.float32, device=packed.device)
    weight[..., 0::2], weight[..., 1::2] = _nibble_pairs(packed)
    grouped = weight.view(*scale.shape, num_inputs // num_groups)
    grouped.sub_(EXCESS).mul_(scale.float().unsqueeze(-1))
    return weight


def quantize_int4(weight: Tensor, group_size: int = GROUP_SIZE) -> tuple[Tensor, Tensor]:
    """Quantise symmetrically to the nearest of sixteen levels a group.

    weight: [*, num_inputs] of any float type.

    Returns packed [*, num_inputs // 8] int32 and scale [*, num_inputs // group_size] bf16. The
    scale spans the group's largest magnitude over 7.5 levels, as compressed-tensors' min-max
    observer does; codes are chosen for the scale after its rounding to bf16.
    Raises ValueError if num_inputs is no multiple of the group size.
    """
    if weight.shape[-1] % group_size or group_size % NIBBLES_PER_WORD:
        raise ValueError(
            f"weight: last dimension must be a multiple of group_size={group_size}, itself a "
            f"multiple of 8; got {[*weight.shape]}"
        )
    num_groups = weight.shape[-1] // group_size
    grouped = weight.float().reshape(*weight.shape[:-1], num_groups, group_size)
    scale = (grouped.abs().amax(dim=-1) / ((Q_MAX - Q_MIN) / 2)).to(torch.bfloat16)
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)  # an all-zero group
    q = (grouped / scale.float().unsqueeze(-1)).round_().clamp_(Q_MIN, Q_MAX)
    return pack_int4(q.to(torch.int8).flatten(-2)), scale


def _nibble_pairs(packed: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes of even and of odd inputs, each [*, 4 * num_words] uint8."""
    if packed.dtype != torch.int32:
        raise ValueError(f"packed: want int32 words, got {packed.dtype}")
    octets = packed.contiguous().view(torch.uint8)
    return octets & 0xF, octets >> 4
