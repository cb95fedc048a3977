"""Run INT4 experts with kt-kernel, a JSON line in, a JSON line out; see `kt_kernel`.

Argument: the folder that holds the package. Called straight from the main thread: its queue would
keep one more core busy, without end, than its threads do.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import cycle
from typing import Any, Final

import torch
from torch import Tensor

from sglang_kimi.kernels.moe.int4 import GROUP_SIZE, Int4Experts

from .kernel_experts import TOP_K, TURNS, random_experts, routed
from .kernel_row import awake_once

_PRIORITY: Final = -20  # the highest ordinary one


class KtExperts:
    """Experts in one of kt-kernel's classes, with tokens for each turn; bfloat16 outputs."""

    def __init__(self, kernel: Any, config: Any, experts: Int4Experts, num_tokens: int) -> None:
        hidden, num = experts.hidden_size, experts.num_local_experts
        self._ids = torch.arange(num)  # as is: the first is the first
        config.physical_to_logical_map = self._ids.data_ptr()
        config.max_len = num_tokens
        _point_to_weights(config, experts)
        self._experts = kernel(config)
        self._experts.load_weights()
        self._num_tokens = torch.tensor([num_tokens], dtype=torch.int32)
        inputs = [routed(hidden, num, num_tokens, seed) for seed in range(TURNS)]
        self._inputs = cycle([(x.bfloat16(), ids.long(), weights) for x, ids, weights in inputs])
        self._output = torch.zeros(num_tokens, hidden, dtype=torch.bfloat16)

    def __call__(self) -> Tensor:
        """Apply the experts to the next tokens; the next call writes to the same memory."""
        x, ids, weights = next(self._inputs)
        pointers = [tensor.data_ptr() for tensor in (ids, weights, x, self._output)]
        self._experts.forward(self._num_tokens.data_ptr(), TOP_K, *pointers, False)
        return self._output


class Engine:
    """kt-kernel as it chose itself, and the experts of one shape for each number of threads."""

    def __init__(self, folder: str) -> None:
        sys.path.insert(0, folder)
        self._package = importlib.import_module("kt_kernel")
        amx = importlib.import_module("kt_kernel.utils.amx")
        self._kernel = amx._select_rawint4_backend(GROUP_SIZE)
        if self._kernel is None:
            raise SystemExit("kt-kernel has no kernel for packed INT4 on this CPU")
        self._pools: dict[int, Any] = {}
        self._experts: dict[int, KtExperts] = {}

    def load(self, shape: Sequence[int], threads: Sequence[int]) -> dict[str, Any]:
        """Make the experts; say what computes them, and the first token's output."""
        hidden, inter, num, num_tokens = shape
        self._experts.clear()
        self._weights = random_experts(hidden, inter, num)  # kept: it may go on reading them
        self._on_gpu = torch.zeros(num, dtype=torch.bool)
        module = self._package.kt_kernel_ext
        for count in threads:
            if count not in self._pools:
                self._pools[count] = module.WorkerPool(count)
            config = module.moe.MOEConfig(num, TOP_K, hidden, inter, self._on_gpu.data_ptr())
            config.pool = self._pools[count]
            self._experts[count] = KtExperts(self._kernel, config, self._weights, num_tokens)
        output = self._experts[threads[0]]()[0].tolist()
        variant = self._package.__cpu_variant__
        return {"variant": variant, "kernel": self._kernel.__name__, "output": output}

    def seconds(self, threads: int) -> float:
        """Return the seconds of a call."""
        return awake_once(self._experts[threads])


def _point_to_weights(config: Any, experts: Int4Experts) -> None:
    inter = experts.moe_intermediate_size
    parts: dict[str, Callable[[int], Tensor]] = {
        "gate_projs": lambda i: experts.w13[i, :inter],
        "gate_scales": lambda i: experts.w13_scale[i, :inter],
        "up_projs": lambda i: experts.w13[i, inter:],
        "up_scales": lambda i: experts.w13_scale[i, inter:],
        "down_projs": lambda i: experts.w2[i],
        "down_scales": lambda i: experts.w2_scale[i],
    }
    for name, part in parts.items():
        pointers = [part(i).data_ptr() for i in range(experts.num_local_experts)]
        setattr(config, name, [pointers])
    config.quant_config.bits = 4
    config.quant_config.group_size = GROUP_SIZE
    config.quant_config.zero_point = False


def be_ordinary() -> None:
    """Leave a real-time policy: threads that spin for each other would do so for ever under it."""
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)


def main() -> None:
    """Answer lines {"shape", "threads"} and {"threads"} until the input ends."""
    be_ordinary()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # its C++ prints where it likes
    engine = Engine(sys.argv[1])
    for line in sys.stdin:
        question = json.loads(line)
        if "shape" in question:
            reply = engine.load(question["shape"], question["threads"])
        else:
            reply = {"seconds": engine.seconds(question["threads"])}
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    main()
