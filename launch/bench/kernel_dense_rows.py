"""Rows of `bench kernels` for dense bf16 weights and attention, beside torch's forms."""

from collections.abc import Callable, Sequence
from itertools import cycle
from statistics import median
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import linear

from sglang_kimi.kernels.linear.bf16 import bf16_bmm, bf16_linear
from sglang_kimi.kernels.mla.absorbed import mla_absorbed, mla_absorbed_batch
from sglang_kimi.kernels.mla.expanded import mla_expanded

from .kernel_peers import einsum_mla, sdpa_mla
from .kernel_row import Form, Limits, Row, Show, relative_error, times

_RANK, _ROPE, _NOPE, _V = 512, 64, 128, 128  # of the release's heads
_LINEAR: Final = tuple(  # out_features, in_features, rows
    (*shape, rows) for shape in ((2048, 2048), (2048, 7168)) for rows in (1, 8, 32, 512)
)
_MLA: Final = tuple((seq_len, heads) for seq_len in (4096, 16384, 65536) for heads in (16, 64))
_BATCHES: Final = ((8, 4096), (32, 512))  # sequences, tokens of each
_PROMPTS: Final = (512, 2048)
_CACHE_BYTES: Final = 64 << 20  # weights in turn take at least this, so that L3 does not help


def show_dense(rounds: int, limits: Limits, show: Show) -> list[str]:
    """Measure and show every row; return a line for each missed target."""
    misses = []
    for out_features, in_features, num_rows in _LINEAR:
        row = linear_row(out_features, in_features, num_rows, rounds, limits)
        show(row.text())
        if num_rows == 512 and row.ratio("float32") < 0.85:
            misses.append(f"{row.name}: {row.ratio('float32'):.2f}x torch's float32, want 0.85x")
    show(heads_row(64, rounds, limits).text())
    for seq_len, heads in _MLA:
        row = decode_row(seq_len, heads, rounds, limits)
        show(row.text())
        best = min(row.ratio(form) for form in row.seconds if form != "ours")
        if best < 2.5:
            bound = f"; at the FMA limit {best / row.share:.1f}x"
            misses.append(f"{row.name}: {best:.1f}x the best form of torch, want 2.5x{bound}")
    for batch, seq_len in _BATCHES:
        show(batch_row(batch, seq_len, rounds, limits).text())
    for num_tokens in _PROMPTS:
        show(prompt_row(num_tokens, min(rounds, 5), limits).text())
    return misses


def linear_row(
    out_features: int, in_features: int, num_rows: int, rounds: int, limits: Limits
) -> Row:
    """Measure a product with a bf16 matrix: up to 8 rows by the bytes read, more by arithmetic."""
    num_bytes = 2 * out_features * in_features
    weights = [
        _random(seed, out_features, in_features).bfloat16()
        for seed in range(-(-_CACHE_BYTES // num_bytes))
    ]
    x, x_bf16 = _random(0, num_rows, in_features), _random(0, num_rows, in_features).bfloat16()
    forms = {
        "ours": _in_turn(weights, lambda weight: bf16_linear(x, weight)),
        "float32": _in_turn([w.float() for w in weights], lambda weight: linear(x, weight)),
        "bf16": _in_turn(weights, lambda weight: linear(x_bf16, weight)),
    }
    seconds = times(forms, rounds)
    exact = x.double() @ weights[0].double().T
    error = relative_error(bf16_linear(x, weights[0]), exact)
    name = f"bf16 {out_features}x{in_features}, {num_rows} rows"
    if num_rows <= 8:
        rate = num_bytes / median(seconds["ours"])
        return Row(name, seconds, rate / limits.bytes_s, f"{rate / 1e9:.1f} GB/s", error)
    return _by_flops(name, seconds, num_rows * num_bytes, limits, error)


def heads_row(heads: int, rounds: int, limits: Limits) -> Row:
    """Measure one token's product with `w_kc` of all heads."""
    weights = [
        _random(seed, heads, _RANK, _NOPE).bfloat16().mT
        for seed in range(_CACHE_BYTES // (2 * heads * _RANK * _NOPE))
    ]
    x = _random(0, heads, 1, _NOPE)
    forms = {
        "ours": _in_turn(weights, lambda weight: bf16_bmm(x, weight)),
        "float32": _in_turn([w.float() for w in weights], lambda weight: torch.bmm(x, weight)),
    }
    seconds = times(forms, rounds)
    rate = 2 * weights[0].numel() / median(seconds["ours"])
    error = relative_error(bf16_bmm(x, weights[0]), torch.bmm(x.double(), weights[0].double()))
    name = f"bf16 {heads} heads of {_RANK}x{_NOPE}, 1 row"
    return Row(name, seconds, rate / limits.bytes_s, f"{rate / 1e9:.1f} GB/s", error)


def decode_row(seq_len: int, heads: int, rounds: int, limits: Limits) -> Row:
    """Measure one decode step of one sequence over a scattered bf16 cache."""
    cache, slots = _scattered(1, seq_len)
    query = _random(seq_len + heads, 1, heads, _RANK + _ROPE)
    forms: dict[str, Form] = {
        "ours": lambda: mla_absorbed(query, cache, slots[0], scaling=0.1, kv_lora_rank=_RANK),
        "einsum": lambda: einsum_mla(query, cache, slots[0], 0.1, _RANK),
        "sdpa": lambda: sdpa_mla(query, cache, slots[0], 0.1, _RANK),
    }
    seconds = times(forms, rounds)
    exact = einsum_mla(query.double(), cache.double(), slots[0], 0.1, _RANK)
    name = f"MLA decode, {seq_len} tokens, {heads} heads"
    flops = 2 * heads * seq_len * (2 * _RANK + _ROPE)
    return _by_flops(name, seconds, flops, limits, relative_error(forms["ours"](), exact))


def batch_row(batch: int, seq_len: int, rounds: int, limits: Limits) -> Row:
    """Measure one decode step of several sequences with 16 heads, one call for all of them."""
    heads = 16
    cache, slots = _scattered(batch, seq_len)
    query = _random(batch, batch, heads, _RANK + _ROPE)
    requests, lens = torch.arange(batch), torch.full((batch,), seq_len)

    def einsum() -> Tensor:
        return torch.cat(
            [einsum_mla(query[s : s + 1], cache, slots[s], 0.1, _RANK) for s in range(batch)]
        )

    forms: dict[str, Form] = {
        "ours": lambda: mla_absorbed_batch(
            query, cache, slots, requests, lens, scaling=0.1, kv_lora_rank=_RANK
        ),
        "einsum": einsum,
    }
    seconds = times(forms, rounds)
    exact = einsum_mla(query[:1].double(), cache.double(), slots[0], 0.1, _RANK)
    name = f"MLA decode, {batch} x {seq_len}, {heads} heads"
    flops = 2 * heads * batch * seq_len * (2 * _RANK + _ROPE)
    return _by_flops(name, seconds, flops, limits, relative_error(forms["ours"](), exact))


def prompt_row(num_tokens: int, rounds: int, limits: Limits) -> Row:
    """Measure a new prompt's attention, 16 heads, keys in full; expanding them is left out."""
    heads = 16
    query, key = (_random(seed, num_tokens, heads, _NOPE + _ROPE) for seed in (1, 2))
    value, lens = _random(3, num_tokens, heads, _V), torch.tensor([num_tokens])
    latents, slots = _random(4, num_tokens, _RANK + _ROPE), torch.arange(num_tokens)
    absorbed = _random(5, num_tokens, heads, _RANK + _ROPE)

    def sdpa(q: Tensor = query, k: Tensor = key, v: Tensor = value) -> Tensor:
        q, k, v = (tensor.transpose(0, 1).unsqueeze(0) for tensor in (q, k, v))
        output = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=0.1
        )
        return output[0].transpose(0, 1)

    forms: dict[str, Form] = {
        "ours": lambda: mla_expanded(query, key, value, lens, lens, scaling=0.1),
        "absorbed": lambda: mla_absorbed(absorbed, latents, slots, scaling=0.1, kv_lora_rank=_RANK),
        "sdpa": sdpa,
    }
    seconds = times(forms, rounds)
    first = slice(0, 64)
    exact = sdpa(query[first].double(), key[first].double(), value[first].double())
    flops = heads * num_tokens**2 * (_NOPE + _ROPE + _V)
    error = relative_error(forms["ours"](), exact)
    return _by_flops(
        f"MLA prompt, {num_tokens} tokens, {heads} heads", seconds, flops, limits, error
    )


def _by_flops(
    name: str, seconds: dict[str, list[float]], flops: float, limits: Limits, error: float
) -> Row:
    rate = flops / median(seconds["ours"])
    return Row(name, seconds, rate / limits.flops_s, f"{rate / 1e9:.0f} GFLOP/s", error)


def _in_turn(weights: Sequence[Tensor], form: Callable[[Tensor], Tensor]) -> Form:
    turn = cycle(weights)
    return lambda: form(next(turn))


def _random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _scattered(batch: int, seq_len: int) -> tuple[Tensor, Tensor]:
    """Return a bf16 cache and [batch, seq_len] rows of it in no order."""
    num_slots = batch * seq_len + 64
    order = torch.randperm(num_slots, generator=torch.Generator().manual_seed(seq_len))
    cache = _random(seq_len, num_slots, _RANK + _ROPE).bfloat16()
    return cache, order[: batch * seq_len].int().view(batch, seq_len)
