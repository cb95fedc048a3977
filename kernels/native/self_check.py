"""One small product a kernel against plain torch: what a library has to pass before it is used."""

import ctypes
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from ..decoder.layer_native import native_decoder_layer
from ..decoder.layer_reference import ref_decoder_layer
from ..decoder.weights import DecoderWeights, MoeWeights
from ..linear.bf16_native import native_bf16_bmm, native_bf16_mlp
from ..linear.bf16_reference import ref_bf16_bmm, ref_bf16_mlp
from ..mla.absorbed_native import native_mla_absorbed_batch
from ..mla.absorbed_reference import ref_mla_absorbed_batch
from ..mla.expanded_native import native_mla_expanded
from ..mla.expanded_reference import ref_mla_expanded
from ..mla.layer_native import native_mla_layer
from ..mla.layer_reference import ref_mla_layer
from ..mla.layer_step import MlaStep
from ..mla.layer_weights import MlaWeights
from ..moe.int4_experts import Int4Experts
from ..moe.int4_format import quantize_int4
from ..moe.int4_native import native_moe_int4
from ..moe.int4_reference import ref_moe_int4
from ..moe.sigmoid_routing import native_route_by_sigmoid, ref_route_by_sigmoid
from .library import CheckError

_Random = Callable[..., Tensor]
_LARGEST_ERROR: Final = 1e-3  # relative; right code has up to 5e-5, wrong code about 1


def check_library(library: ctypes.CDLL) -> None:
    """Compare few rows, many rows and sizes that end within a vector. Takes milliseconds.

    Raises CheckError naming the kernel.
    """
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    for num_tokens in (1, 9):
        _check_experts(library, random, num_tokens)
        _check_linear(library, random, num_tokens)
    _check_mla(library, random)
    _check_expanded_mla(library, random)
    _check_routing(library, random)
    _check_layer(library, random)


def _check_experts(library: ctypes.CDLL, random: _Random, num_tokens: int) -> None:
    w13, w13_scale = quantize_int4(random(3, 2 * 160, 96))
    w2, w2_scale = quantize_int4(random(3, 96, 160))
    experts = Int4Experts(w13, w13_scale, w2, w2_scale)
    x, weights = random(num_tokens, 96), random(num_tokens, 2)
    ids = torch.arange(2 * num_tokens, dtype=torch.int32).view(num_tokens, 2) % 4 - 1
    found = native_moe_int4(library, x, experts, ids, weights)
    _compare("kimi_moe_int4", found, ref_moe_int4(x, experts, ids, weights))


def _check_routing(library: ctypes.CDLL, random: _Random) -> None:
    routing = (random(9, 21), random(21), 4, True)

    def by_expert(weights: Tensor, ids: Tensor) -> Tensor:
        return torch.zeros(9, 21).scatter(1, ids.long(), weights)

    found = by_expert(*native_route_by_sigmoid(library, *routing))
    _compare("kimi_route_sigmoid", found, by_expert(*ref_route_by_sigmoid(*routing)))


def _check_linear(library: ctypes.CDLL, random: _Random, num_tokens: int) -> None:
    x, weight = random(2, num_tokens, 72), random(2, 29, 72).bfloat16()
    _compare("kimi_bf16_linear", native_bf16_bmm(library, x, weight), ref_bf16_bmm(x, weight.mT))
    mlp = (x[0], random(2 * 21, 72).bfloat16(), random(72, 21).bfloat16())
    _compare("kimi_bf16_mlp", native_bf16_mlp(library, *mlp), ref_bf16_mlp(*mlp))


def _check_mla(library: ctypes.CDLL, random: _Random) -> None:
    query, cache = random(4, 2, 96), random(50, 96).bfloat16()
    slots = torch.arange(50, dtype=torch.int32).flip(0).view(2, 25)
    lens = torch.tensor([25, 18])
    batch = (query, cache, slots, torch.tensor([1, 0]), lens, torch.tensor([3, 1]))
    found = native_mla_absorbed_batch(library, *batch, scaling=0.1, kv_lora_rank=64)
    expected = ref_mla_absorbed_batch(*batch, scaling=0.1, kv_lora_rank=64)
    _compare("kimi_mla_absorbed", found, expected)


def _check_expanded_mla(library: ctypes.CDLL, random: _Random) -> None:
    lens, counts = torch.tensor([25, 18]), torch.tensor([9, 1])
    batch = (random(10, 3, 64), random(43, 3, 64), random(43, 3, 32), lens, counts)
    found = native_mla_expanded(library, *batch, scaling=0.1)
    _compare("kimi_mla_expanded", found, ref_mla_expanded(*batch, scaling=0.1))


def _check_layer(library: ctypes.CDLL, random: _Random) -> None:
    shapes = ((80, 40), (2, 64, 8), (2, 24, 64), (64, 48), (136, 64), (2 * 21, 64), (64, 21))
    q_b, w_kc, w_vc, o, qkv_a, gate_up, down = (random(*shape).bfloat16() for shape in shapes)
    norms = (random(40), random(64))
    mla = MlaWeights(*norms, q_b, w_kc.mT, w_vc.mT, o, rope_dim=32, eps=1e-5, scaling=0.1)
    lens = (torch.tensor([0, 1]), torch.tensor([10, 4]), torch.tensor([2, 1]))
    slots = torch.arange(20, dtype=torch.int32).flip(0).view(2, 10)
    places = (torch.tensor([8, 9, 3]), random(10, 32), torch.tensor([11, 10, 6]))
    step, latents, cache = MlaStep(*places, slots, *lens), random(3, 136), random(20, 96)
    expected = ref_mla_layer(latents, mla, step, cache.clone())
    found = native_mla_layer(library, latents, mla, step, cache)
    _compare("kimi_mla_layer", found, expected)
    experts = Int4Experts(*quantize_int4(random(5, 2 * 32, 64)), *quantize_int4(random(5, 64, 32)))
    moe = MoeWeights(random(5, 64).bfloat16(), random(5), experts, 2, True, 2.5)
    norms = (random(64), random(64))
    layer = DecoderWeights(*norms, 1e-5, qkv_a, mla, gate_up, down, moe)
    by_torch = random(2, 3, 64)
    by_kernel = by_torch.clone()
    ref_decoder_layer(by_torch[0], by_torch[1], layer, step, cache.clone())
    native_decoder_layer(library, by_kernel[0], by_kernel[1], layer, step, cache)
    _compare("kimi_decoder_layer", by_kernel, by_torch)


def _compare(name: str, found: Tensor, expected: Tensor) -> None:
    error = float((found - expected).norm() / expected.norm())
    if not error < _LARGEST_ERROR:  # also where it is not a number
        raise CheckError(f"{name} is wrong: relative error {error:.1e} against plain torch")
