"""`bench kernels`: the rows of INT4 experts, then those of dense weights and attention."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import cycle
from statistics import median
from typing import Final

import torch
from torch import Tensor

from sglang_kimi.kernels.moe.int4 import GROUP_SIZE, Int4Experts, moe_int4
from sglang_kimi.kernels.moe.int4_reference import ref_moe_int4
from sglang_kimi.kernels.native.library import native_library

from .kernel_dense_rows import show_dense
from .kernel_experts import DISTINCT, TOP_K, TURNS, Routed, exact_first, random_experts, routed
from .kernel_peers import Int4PackExperts
from .kernel_row import Form, Limits, Row, Show, measure_limits, once, relative_error, times
from .kt_kernel_rows import BEST, KtKernels

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
_LONG_CALL_S: Final = 1.0  # a form of torch's that takes longer is left out of a row


def show_kernels(rounds: int, show: Show, *, with_kt_kernel: bool) -> list[str]:
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
    with KtKernels(show) if with_kt_kernel else nullcontext() as kt_kernels:
        for shape in _EXPERTS:
            row = experts_row(*shape, rounds, limits)
            peers = kt_kernels.measure(shape, rounds) if kt_kernels and shape[2] <= 32 else {}
            row = replace(row, others={name: peer.ratio for name, peer in peers.items()})
            for line in (row.text(), *(peer.text(name) for name, peer in peers.items())):
                show(line)
            misses += _missed_experts(row, num_tokens=shape[3], hidden=shape[0])
    return misses + show_dense(rounds, limits, show)


def experts_row(
    hidden: int, inter: int, num: int, num_tokens: int, rounds: int, limits: Limits
) -> Row:
    """Measure INT4 experts: one token by the bytes read, several by the arithmetic.

    The read limit of one token is that of these very weights, summed in the same rounds: pages of
    one process may lie in memory twice as fast as another's.
    """
    experts = random_experts(hidden, inter, num)
    packed = Int4PackExperts(experts, DISTINCT)
    inputs = [routed(hidden, num, num_tokens, seed) for seed in range(TURNS)]
    words = experts.w13.view(torch.int64)
    forms = {
        "ours": _in_turn(inputs, lambda *one: _apply(moe_int4, experts, one)),
        "int4pack": _in_turn(inputs, packed),
    }
    if num_tokens <= 32:
        slow = {
            "int4pack fp32": _in_turn(inputs, packed.in_float32()),
            "torch": _in_turn(inputs, lambda *one: _apply(ref_moe_int4, experts, one)),
        }
        forms |= {name: form for name, form in slow.items() if once(form) < _LONG_CALL_S}
    if num_tokens == 1:
        forms["read"] = words.sum
    seconds = times(forms, rounds)
    read_s = seconds.pop("read", [1.0])
    ours_s = median(seconds["ours"])
    name = f"INT4 {hidden}x{inter}, {num_tokens} tokens of {num}"
    error = relative_error(_apply(moe_int4, experts, inputs[0]), exact_first(experts, *inputs[0]))
    if num_tokens == 1:
        limit = words.nbytes / median(read_s)
        rate = TOP_K * 3 * hidden * inter * (0.5 + 2 / GROUP_SIZE) / ours_s
        return Row(name, seconds, rate / limit, f"{rate / 1e9:.1f} GB/s", error)
    rate = 2 * num_tokens * TOP_K * 3 * hidden * inter / ours_s
    return Row(name, seconds, rate / limits.flops_s, f"{rate / 1e9:.0f} GFLOP/s", error)


def _in_turn(inputs: Sequence[Routed], form: Callable[..., Tensor]) -> Form:
    turn = cycle(inputs)
    return lambda: form(*next(turn))


def _apply(form: Callable[..., Tensor], experts: Int4Experts, one: Routed) -> Tensor:
    x, topk_ids, topk_weights = one
    return form(x, experts, topk_ids, topk_weights)


def _missed_experts(row: Row, num_tokens: int, hidden: int) -> list[str]:
    misses = []
    if num_tokens == 1 and BEST in row.others and (ratio := row.ratio(BEST)) < 5:
        bound = f"; at the read limit {ratio / row.share:.1f}x"
        misses.append(f"{row.name}: {ratio:.1f}x {BEST}, want 5x{bound}")
    if num_tokens == 1 and hidden >= 2048:
        wanted, factor = row.share >= 0.6, 4.0
        # Nothing beats the read limit, so neither can the ratio to torch.
        bound = f"; at the read limit {row.ratio('int4pack') / row.share:.1f}x"
    elif num_tokens == 512:
        wanted, factor, bound = float(row.rate.split()[0]) >= 100, 2.0, ""
    else:
        return misses
    if not wanted:
        misses.append(f"{row.name}: {row.rate}, {row.share:.0%} of the limit")
    if (ratio := row.ratio("int4pack")) < factor:
        misses.append(f"{row.name}: {ratio:.1f}x int4pack, want {factor:g}x{bound}")
    return misses
