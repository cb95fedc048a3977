"""A function run by several gloo ranks, each a process of its own, without a server."""

from __future__ import annotations

import multiprocessing
import queue
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist

PATIENCE_S = 600.0  # a rank that waits for ever must fail the test; a busy machine must not

# Forked, not spawned: importing torch in every rank would take seconds. One thread in each, since
# OpenMP's pools do not survive a fork.
CONTEXT = multiprocessing.get_context("fork")


def run_ranks(num_ranks: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """Return what `function(*args)` returns on each rank; AssertionError with a rank's traceback.

    function: a module-level function; it finds its rank in `torch.distributed`. Results travel
    pickled: plain values and NumPy arrays.
    """
    results: Any = CONTEXT.Queue()
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        processes = [
            CONTEXT.Process(target=_run, args=(rank, num_ranks, store, results, function, args))
            for rank in range(num_ranks)
        ]
        for process in processes:
            process.start()
        answers: dict[int, Any] = {}
        try:
            while len(answers) < num_ranks:
                rank, answer = results.get(timeout=PATIENCE_S)
                assert not isinstance(answer, RankError), f"rank {rank}:\n{answer}"
                answers[rank] = answer
        except queue.Empty:
            raise AssertionError(
                f"{function.__name__}: ranks {[*answers]} of {num_ranks} came back, no other does"
            ) from None
        finally:
            for process in processes:
                process.join(timeout=5 if len(answers) == num_ranks else 0)
                process.kill()
                process.join()
    return [answers[rank] for rank in range(num_ranks)]


class RankError(str):
    """The traceback of a rank that failed."""


def _run(
    rank: int,
    num_ranks: int,
    store: str,
    results: Any,
    function: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=num_ranks)
    try:
        results.put((rank, function(*args)))
    except BaseException:  # SystemExit too: a rank that leaves must not look like one that hangs
        results.put((rank, RankError(traceback.format_exc())))
    if dist.is_initialized():
        dist.destroy_process_group()
