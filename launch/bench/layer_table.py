"""The rows of `bench layer`: one layer's experts for a few tokens and many, timed and checked."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Final

import torch
from torch import Tensor

from sglang_kimi.kernels.moe.int4 import moe_int4
from sglang_kimi.kernels.native.library import native_library

from .layer_experts import MappedLayer, exact_sum
from .process_memory import ProcessMemory, process_memory

BATCHES: Final = ((1, "decode"), (8, "decode"), (32, "decode"), (64, "prefill"))
MAX_ERROR: Final = 1e-3  # relative, against float64
MAX_RESIDENT_BYTES: Final = 16e9
ROW_SECONDS: Final = 30.0  # of a row that reads the disk all the time: no further rounds after it

Show = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One batch size: seconds of calls with new experts, and of the same calls once more."""

    num_tokens: int
    what: str
    first_s: list[float]
    again_s: list[float]
    touched_bytes: list[int]
    major_faults: int
    error: float

    def text(self) -> str:
        """Return the printed line."""
        pairs = zip(self.touched_bytes, self.again_s, strict=True)
        rate = median(num_bytes / second for num_bytes, second in pairs)
        name = f"{self.what}, {self.num_tokens} token{'s' * (self.num_tokens > 1)}"
        return (
            f"{name:<20} {median(self.first_s) * 1e3:>9.1f} {median(self.again_s) * 1e3:>9.1f}"
            f"  {median(self.touched_bytes) / 1e9:>6.2f} GB {rate / 1e9:>7.1f} GB/s"
            f"  {self.major_faults:>7}  {self.error:>8.1e}  {len(self.first_s):>6}"
        )


def show_layer(layer: MappedLayer, rounds: int, show: Show) -> list[str]:
    """Measure and show every row, then the memory; return a line for each missed target."""
    if native_library() is None:
        return ["there is no compiled kernel on this machine; the log says why"]
    experts = layer.experts
    total = layer.expert_bytes * experts.num_local_experts
    show(
        f"layer {layer.layer_id}: {experts.num_local_experts} experts, hidden "
        f"{experts.hidden_size}, intermediate {experts.moe_intermediate_size}, top-{layer.top_k}: "
        f"{total / 1e9:.2f} GB mapped from {len(layer.shards)} files; "
        f"threads {torch.get_num_threads()}\n"
    )
    show(
        f"{'':<20} {'first ms':>9} {'again ms':>9}  {'touched':>9} {'rate':>12}  "
        f"{'majflt':>7}  {'error':>8}  {'rounds':>6}"
    )
    misses = []
    for num_tokens, what in BATCHES:
        row = measure_row(layer, num_tokens, what, rounds)
        show(row.text())
        if not row.error < MAX_ERROR:  # nan too
            misses.append(f"{what} of {num_tokens}: error {row.error:.1e}, want {MAX_ERROR:g}")
    memory = process_memory()
    show(f"\n{describe_memory(memory)}")
    if memory.peak >= MAX_RESIDENT_BYTES:
        misses.append(f"{memory.peak / 1e9:.1f} GB resident, want {MAX_RESIDENT_BYTES / 1e9:g}")
    return misses


def measure_row(layer: MappedLayer, num_tokens: int, what: str, rounds: int) -> Row:
    """Run `rounds` batches of new tokens, each twice, and check the first one's ends."""
    begin, faults = time.perf_counter(), process_memory().major_faults
    first_s, again_s, touched = [], [], []
    inputs = None
    for seed in range(rounds):
        inputs = routed_tokens(layer, num_tokens, seed)
        first_s.append(_seconds(layer, inputs))
        again_s.append(_seconds(layer, inputs))
        touched.append(len(set(inputs[1].flatten().tolist())) * layer.expert_bytes)
        if time.perf_counter() - begin > ROW_SECONDS:
            break
    assert inputs is not None
    faults = process_memory().major_faults - faults
    return Row(num_tokens, what, first_s, again_s, touched, faults, relative_error(layer, inputs))


def routed_tokens(layer: MappedLayer, num_tokens: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return tokens, the experts they go to (each any, equally likely) and their weights."""
    generator = torch.Generator().manual_seed(seed * 1000 + num_tokens)
    x = torch.randn(num_tokens, layer.experts.hidden_size, generator=generator)
    scores = torch.rand(num_tokens, layer.experts.num_local_experts, generator=generator)
    weights, ids = scores.topk(layer.top_k)
    return x, ids.int(), weights / weights.sum(dim=-1, keepdim=True)


def relative_error(layer: MappedLayer, inputs: tuple[Tensor, Tensor, Tensor]) -> float:
    """Return the worse error of the first and the last token against float64."""
    x, ids, weights = inputs
    output = moe_int4(x, layer.experts, ids, weights).double()
    errors = []
    for token in {0, x.shape[0] - 1}:
        exact = exact_sum(layer.experts, x[token], ids[token], weights[token])
        errors.append(float((output[token] - exact).norm() / exact.norm()))
    return max(errors)


def describe_memory(memory: ProcessMemory) -> str:
    """Return what the process holds and held, in a line."""
    return (
        f"resident: {memory.anonymous / 1e9:.2f} GB anonymous, {memory.mapped / 1e9:.2f} GB of "
        f"mapped files, at most {memory.peak / 1e9:.2f} GB together; "
        f"{memory.major_faults} major and {memory.minor_faults} minor page faults"
    )


def _seconds(layer: MappedLayer, inputs: tuple[Tensor, Tensor, Tensor]) -> float:
    x, ids, weights = inputs
    start = time.perf_counter()
    moe_int4(x, layer.experts, ids, weights)
    return time.perf_counter() - start
