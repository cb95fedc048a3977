"""`bench kernels`: the rows of INT4 experts, then those of dense weights and attention."""

from collections.abc import Callable, Sequence
from itertools import cycle
from statistics import median
from typing import Final

import torch
from torch import Tensor

from sglang_kimi.kernels.moe.int4 import GROUP_SIZE, Int4Experts, dequantize_int4, moe_int4
from sglang_kimi.kernels.moe.int4_reference import ref_moe_int4
from sglang_kimi.kernels.native.library import native_library

from .kernel_dense_rows import show_dense
from .kernel_peers import Int4PackExperts
from .kernel_row import Form, Limits, Row, Show, measure_limits, relative_error, times
from .kernel_row import once as _once

_Routed = tuple[Tensor, Tensor, Tensor]  # x, topk_ids, topk_weights

_TOP_K: Final = 8
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
    return misses + show_dense(rounds, limits, show)


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
        forms["int4pack fp32"] = _in_turn(inputs, packed.in_float32())
        forms["torch"] = _in_turn(inputs, lambda *routed: _apply(ref_moe_int4, experts, routed))
        forms = {n: form for n, form in forms.items() if n == "ours" or _once(form) < _LONG_CALL_S}
    if num_tokens == 1:
        forms["read"] = words.sum
    seconds = times(forms, rounds)
    read_s = seconds.pop("read", [1.0])
    ours_s = median(seconds["ours"])
    name = f"INT4 {hidden}x{inter}, {num_tokens} tokens of {num}"
    error = relative_error(_apply(moe_int4, experts, inputs[0]), _exact(experts, *inputs[0]))
    if num_tokens == 1:
        limit = words.nbytes / median(read_s)
        rate = _TOP_K * 3 * hidden * inter * (0.5 + 2 / GROUP_SIZE) / ours_s
        return Row(name, seconds, rate / limit, f"{rate / 1e9:.1f} GB/s", error)
    rate = 2 * num_tokens * _TOP_K * 3 * hidden * inter / ours_s
    return Row(name, seconds, rate / limits.flops_s, f"{rate / 1e9:.0f} GFLOP/s", error)


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
