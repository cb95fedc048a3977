"""What `bench kernels --kt-kernel` adds to a row: kt-kernel's time over ours, in turns with it."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Final, Self

import torch
from torch import Tensor

from sglang_kimi.kernels.moe.int4 import moe_int4

from .kernel_experts import TURNS, exact_first, random_experts, routed
from .kernel_row import Show, awake_once, relative_error
from .kt_kernel import KT_KERNEL, KtKernel, KtKernelError, Loaded, kt_kernel_folder

BEST, AVX2 = "kt-kernel", "kt-kernel avx2"
Shape = tuple[int, int, int, int]  # hidden_size, moe_intermediate_size, experts, tokens
_ASLEEP_S: Final = 0.06  # its threads spin for 50 ms after a call


@dataclass(frozen=True)
class KtTimes:
    """One build of kt-kernel on one shape: seconds by its number of threads, beside ours.

    ours: seconds with all threads and, at `fewest`, with as few.
    """

    loaded: Loaded
    theirs: Mapping[int, list[float]]
    ours: Mapping[int, list[float]]
    error: float

    @property
    def threads(self) -> int:
        """Return the number of threads with which it is fastest."""
        return min(self.theirs, key=lambda number: median(self.theirs[number]))

    @property
    def ratio(self) -> float:
        """Return its best time over ours with all threads."""
        return median(self.theirs[self.threads]) / median(self.ours[max(self.ours)])

    def text(self, name: str) -> str:
        """Return the line below a row."""
        fewest = min(self.ours)
        each = median(self.theirs[fewest]) / median(self.ours[fewest])
        times = ", ".join(
            f"{median(seconds) * 1e3:.2f} ms with {number}"
            for number, seconds in sorted(self.theirs.items())
        )
        return (
            f"  {name}: {self.loaded.kernel} of {self.loaded.variant}, threads: {times}; "
            f"with {fewest} each {each:.1f}x; error {self.error:.1e}"
        )


class KtKernels:
    """A context with the builds of kt-kernel to compare; those that fail are named and left out."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._kernels: dict[str, KtKernel] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            try:
                folder = kt_kernel_folder()
                for name, variant in ((BEST, None), (AVX2, "avx2")):
                    self._kernels[name] = stack.enter_context(KtKernel(folder, variant))
            except KtKernelError as error:
                self._show(f"{KT_KERNEL} cannot be installed: {error}")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def measure(self, shape: Shape, rounds: int) -> dict[str, KtTimes]:
        """Return the times of every build that runs, its own choice first."""
        found: dict[str, KtTimes] = {}
        for name in (BEST, AVX2):
            if name not in self._kernels:
                continue
            try:
                found[name] = kt_times(self._kernels[name], shape, rounds)
            except KtKernelError as error:
                self._show(f"  {name} cannot be run: {error}")
                del self._kernels[name]
                continue
            if name == BEST and found[BEST].loaded.variant == "avx2":
                self._kernels.pop(AVX2, None)  # the best is that one
        return found


def kt_times(kernel: KtKernel, shape: Shape, rounds: int) -> KtTimes:
    """Time kt-kernel and ours in turns, by number of threads. Raises KtKernelError."""
    hidden, inter, num, num_tokens = shape
    experts = random_experts(hidden, inter, num)
    inputs = [routed(hidden, num, num_tokens, seed) for seed in range(TURNS)]
    turns = cycle(inputs)

    def ours() -> Tensor:
        x, ids, weights = next(turns)
        return moe_int4(x, experts, ids, weights)

    all_threads = torch.get_num_threads()
    counts = thread_counts(all_threads, num_nodes())
    loaded = kernel.load(shape, counts)
    error = relative_error(torch.tensor([loaded.output]), exact_first(experts, *inputs[0]))
    ends = (counts[0], counts[-1])
    times = KtTimes(loaded, {n: [] for n in counts}, {n: [] for n in ends}, error)
    try:
        for _ in range(rounds if num_tokens < 512 else min(rounds, 3)):
            for number, seconds in times.ours.items():
                time.sleep(_ASLEEP_S)
                torch.set_num_threads(number)
                seconds.append(awake_once(ours))
            for number, seconds in times.theirs.items():
                time.sleep(_ASLEEP_S)
                seconds.append(kernel.seconds(number))
    finally:
        torch.set_num_threads(all_threads)
    return times


def thread_counts(all_threads: int, nodes: int) -> list[int]:
    """Return the numbers of threads to try, fewest first: it wants one on every memory node.

    The thread that calls spins beside them, so one less than all may be the best.
    """
    return sorted({nodes, max(nodes, all_threads - 1), max(nodes, all_threads)})


def num_nodes() -> int:
    """Return the machine's number of memory nodes."""
    return max(1, len(list(Path("/sys/devices/system/node").glob("node[0-9]*"))))
