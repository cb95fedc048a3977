"""The rows of `bench kernels`: shapes, interleaved timing, shares of the machine's limits."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median, quantiles
from typing import Final

import torch
from torch import Tensor

from sglang_kimi.kernels.mla.absorbed import mla_absorbed
from sglang_kimi.kernels.mla.absorbed_reference import ref_mla_absorbed
from sglang_kimi.kernels.moe.int4 import GROUP_SIZE, Int4Experts, dequantize_int4, moe_int4
from sglang_kimi.kernels.moe.int4_reference import ref_moe_int4
from sglang_kimi.kernels.native.library import native_library

from .kernel_peers import Int4PackExperts, einsum_mla, sdpa_mla

Form = Callable[[], Tensor]
Show = Callable[[str], None]
_Routed = tuple[Tensor, Tensor, Tensor]  # x, topk_ids, topk_weights

_TOP_K: Final = 8
_RANK, _WIDTH = 512, 576  # kv_lora_rank, and qk_rope_head_dim after it
_EXPERTS: Final = (  # hidden_size, moe_intermediate_size, num_experts, num_tokens
    (1024, 512, 32, 1),
    (2048, 1024, 32, 1),
    (7168, 2048, 16, 1),
    (2048, 1024, 16, 8),
    (2048, 1024, 16, 32),
    (2048, 1024, 16, 512),
    (2048, 1024, 384, 8),  # the release's number of experts: few tokens share one
    (2048, 1024, 384, 32),
    (2048, 1024, 384, 512),
)
_DISTINCT: Final = 16  # experts; more of them repeat these, each in memory of its own
_LONG_CALL_S: Final = 1.0  # a form of torch's that takes longer is left out of a row
_MLA: Final = tuple((seq_len, heads) for seq_len in (4096, 16384, 65536) for heads in (16, 64))


@dataclass(frozen=True)
class Limits:
    """What this machine can do: bytes read a second, float operations a second."""

    bytes_s: float
    flops_s: float


@dataclass(frozen=True)
class Row:
    """One shape: seconds of every form, work done by one call, error of ours."""

    name: str
    seconds: Mapping[str, Sequence[float]]
    share: float
    rate: str
    error: float

    def ratio(self, form: str) -> float:
        """Return how many times longer another form takes."""
        return median(self.seconds[form]) / median(self.seconds["ours"])

    def text(self) -> str:
        """Return the printed line."""
        ours = [second * 1e3 for second in self.seconds["ours"]]
        ratios = "  ".join(
            f"{form} {self.ratio(form):.1f}x" for form in self.seconds if form != "ours"
        )
        return (
            f"{self.name:<34} {median(ours):>9.2f} {quantiles(ours, n=10)[-1]:>9.2f}"
            f"  {self.rate:>12}  {self.share:>5.0%}  {self.error:>8.1e}  {ratios}"
        )


def show_kernels(rounds: int, show: Show) -> list[str]:
    """Measure and show every row; return a line for each missed target."""
    if native_library() is None:
        return ["there is no compiled kernel on this machine; the log says why"]
    limits = measure_limits()
    show(
        f"threads {torch.get_num_threads()}, read {limits.bytes_s / 1e9:.1f} GB/s, "
        f"FMA {limits.flops_s / 1e9:.0f} GFLOP/s\n"
    )
    show(
        f"{'shape':<34} {'median ms':>9} {'p90 ms':>9}  {'rate':>12}  {'limit':>5}  {'error':>8}"
        "  time / ours"
    )
    misses = []
    for hidden, inter, num, num_tokens in _EXPERTS:
        row = experts_row(hidden, inter, num, num_tokens, rounds, limits)
        show(row.text())
        misses += _missed_experts(row, num_tokens, hidden)
    for seq_len, heads in _MLA:
        row = mla_row(seq_len, heads, rounds, limits)
        show(row.text())
        best = min(row.ratio(form) for form in row.seconds if form != "ours")
        if best < 2.5:
            misses.append(f"{row.name}: {best:.1f}x the best form of torch, want 2.5x")
    return misses


def measure_limits() -> Limits:
    """Measure the read and arithmetic limits, best of seven."""
    words = torch.ones(1 << 27, dtype=torch.int64)
    matrix = torch.rand(2048, 2048)
    read_s = min(_times({"": lambda: words.sum()}, 7)[""])
    product_s = min(_times({"": lambda: matrix @ matrix}, 7)[""])
    return Limits(words.numel() * 8 / read_s, 2 * 2048**3 / product_s)


def experts_row(
    hidden: int, inter: int, num: int, num_tokens: int, rounds: int, limits: Limits
) -> Row:
    """Measure INT4 experts: one token by the bytes read, several by the arithmetic.

    The read limit of one token is that of these very weights, summed in the same rounds: pages of
    one process may lie in memory twice as fast as another's.
    """
    experts = _random_experts(hidden, inter, num)
    packed = Int4PackExperts(experts, _DISTINCT)
    inputs = [_routed(hidden, num, num_tokens, seed) for seed in range(4)]  # L3 shall not help
    words = experts.w13.view(torch.int64)
    forms = {
        "ours": _in_turn(inputs, lambda *routed: _apply(moe_int4, experts, routed)),
        "int4pack": _in_turn(inputs, packed),
    }
    if num_tokens <= 32:
        slow = {
            "int4pack fp32": _in_turn(inputs, packed.in_float32()),
            "torch": _in_turn(inputs, lambda *routed: _apply(ref_moe_int4, experts, routed)),
        }
        forms |= {name: form for name, form in slow.items() if _once(form) < _LONG_CALL_S}
    if num_tokens == 1:
        forms["read"] = words.sum
    seconds = _times(forms, rounds)
    read_s = seconds.pop("read", [1.0])
    ours_s = median(seconds["ours"])
    name = f"INT4 {hidden}x{inter}, {num_tokens} tokens of {num}"
    error = _relative_error(_apply(moe_int4, experts, inputs[0]), _exact(experts, *inputs[0]))
    if num_tokens == 1:
        limit = words.nbytes / median(read_s)
        rate = _TOP_K * 3 * hidden * inter * (0.5 + 2 / GROUP_SIZE) / ours_s
        return Row(name, seconds, rate / limit, f"{rate / 1e9:.1f} GB/s", error)
    rate = 2 * num_tokens * _TOP_K * 3 * hidden * inter / ours_s
    return Row(name, seconds, rate / limits.flops_s, f"{rate / 1e9:.0f} GFLOP/s", error)


def mla_row(seq_len: int, heads: int, rounds: int, limits: Limits) -> Row:
    """Measure one decode step over a scattered bf16 cache."""
    generator = torch.Generator().manual_seed(seq_len + heads)
    cache = torch.randn(seq_len + 64, _WIDTH, generator=generator).bfloat16()
    slots = torch.randperm(seq_len + 64, generator=generator)[:seq_len].int()
    query = torch.randn(1, heads, _WIDTH, generator=generator)
    forms: dict[str, Form] = {
        "ours": lambda: mla_absorbed(query, cache, slots, scaling=0.1, kv_lora_rank=_RANK),
        "einsum": lambda: einsum_mla(query, cache, slots, 0.1, _RANK),
        "sdpa": lambda: sdpa_mla(query, cache, slots, 0.1, _RANK),
        "torch": lambda: ref_mla_absorbed(query, cache, slots, scaling=0.1, kv_lora_rank=_RANK),
    }
    seconds = _times(forms, rounds)
    rate = 2 * heads * seq_len * (_WIDTH + _RANK) / median(seconds["ours"])
    exact = einsum_mla(query.double(), cache.double(), slots, 0.1, _RANK)
    return Row(
        f"MLA decode, {seq_len} tokens, {heads} heads",
        seconds,
        rate / limits.flops_s,
        f"{rate / 1e9:.0f} GFLOP/s",
        _relative_error(forms["ours"](), exact),
    )


def _in_turn(inputs: Sequence[_Routed], form: Callable[..., Tensor]) -> Form:
    turn = cycle(inputs)
    return lambda: form(*next(turn))


def _apply(form: Callable[..., Tensor], experts: Int4Experts, routed: _Routed) -> Tensor:
    x, topk_ids, topk_weights = routed
    return form(x, experts, topk_ids, topk_weights)


def _missed_experts(row: Row, num_tokens: int, hidden: int) -> list[str]:
    if num_tokens == 1 and hidden >= 2048:
        wanted, factor = row.share >= 0.6, 4.0
        # Nothing beats the read limit, so neither can the ratio to torch.
        bound = f"; at the read limit {row.ratio('int4pack') / row.share:.1f}x"
    elif num_tokens == 512:
        wanted, factor, bound = float(row.rate.split()[0]) >= 100, 2.0, ""
    else:
        return []
    misses = [] if wanted else [f"{row.name}: {row.rate}, {row.share:.0%} of the limit"]
    if (ratio := row.ratio("int4pack")) < factor:
        misses.append(f"{row.name}: {ratio:.1f}x int4pack, want {factor:g}x{bound}")
    return misses


def _once(form: Form) -> float:
    start = time.perf_counter()
    form()
    return time.perf_counter() - start


def _times(forms: Mapping[str, Form], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for form in forms.values():
        form()
    for _ in range(rounds):
        for name, form in forms.items():
            seconds[name].append(_once(form))
    return seconds


def _random_experts(hidden: int, inter: int, num: int) -> Int4Experts:
    generator = torch.Generator().manual_seed(hidden + num)

    distinct = min(num, _DISTINCT)

    def words(*shape: int) -> Tensor:
        return every(torch.randint(-(2**31), 2**31, shape, dtype=torch.int32, generator=generator))

    def scales(*shape: int) -> Tensor:
        return every((0.001 + 0.02 * torch.rand(shape, generator=generator)).bfloat16())

    def every(few: Tensor) -> Tensor:
        return few.repeat(-(-num // distinct), 1, 1)[:num]

    return Int4Experts(
        w13=words(distinct, 2 * inter, hidden // 8),
        w13_scale=scales(distinct, 2 * inter, hidden // GROUP_SIZE),
        w2=words(distinct, hidden, inter // 8),
        w2_scale=scales(distinct, hidden, inter // GROUP_SIZE),
    )


def _routed(hidden: int, num: int, num_tokens: int, seed: int) -> _Routed:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_tokens, hidden, generator=generator)
    scores = torch.rand(num_tokens, num, generator=generator)
    return x, scores.topk(_TOP_K).indices.int(), torch.rand(num_tokens, _TOP_K, generator=generator)


def _exact(experts: Int4Experts, x: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    """Return the first token's output in float64."""
    output = torch.zeros(1, x.shape[1], dtype=torch.float64)
    for expert, weight in zip(ids[0].tolist(), weights[0].tolist(), strict=True):
        both = (
            dequantize_int4(experts.w13[expert], experts.w13_scale[expert]).double() @ x[0].double()
        )
        gate, up = both.chunk(2)
        w2 = dequantize_int4(experts.w2[expert], experts.w2_scale[expert]).double()
        output += weight * (w2 @ (torch.nn.functional.silu(gate) * up))
    return output


def _relative_error(found: Tensor, exact: Tensor) -> float:
    found = found[: exact.shape[0]].double()
    return float((found - exact).norm() / exact.norm())
