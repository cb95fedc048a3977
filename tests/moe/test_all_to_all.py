"""Tokens travel to the ranks that hold their experts and come back as one rank would have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed as dist

from sglang_kimi.kernels.moe.int4 import Int4Experts, moe_int4, quantize_int4
from sglang_kimi.moe.all_to_all import combine, dispatch

from .rank_processes import run_ranks

HIDDEN, INTER, NUM_EXPERTS, TOP_K = 64, 32, 8, 3
# outputs of order one; for few tokens the kernel rounds activations to 16 bits (2e-5), for more not
TOLERANCE = 1e-4


def experts(first: int = 0, last: int = NUM_EXPERTS) -> Int4Experts:
    """Return the same random experts on every rank, a range of them."""
    generator = torch.Generator().manual_seed(3)

    def packed(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
        return quantize_int4(torch.randn(*shape, generator=generator) / shape[-1] ** 0.5)

    w13, w13_scale = packed(NUM_EXPERTS, 2 * INTER, HIDDEN)
    w2, w2_scale = packed(NUM_EXPERTS, HIDDEN, INTER)
    part = slice(first, last)
    return Int4Experts(w13[part], w13_scale[part], w2[part], w2_scale[part])


def tokens(seed: int, num_tokens: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return hidden states, expert numbers and weights of one rank's tokens."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.rand(num_tokens, NUM_EXPERTS, generator=generator).argsort(dim=1)[:, :TOP_K]
    weights = torch.rand(num_tokens, TOP_K, generator=generator)
    return torch.randn(num_tokens, HIDDEN, generator=generator), ids, weights


def send_and_combine(
    batches: list[tuple[Any, Any, Any]], dtype: torch.dtype = torch.float32
) -> tuple[Any, int]:
    """On one rank: return its tokens' outputs and how many rows it computed."""
    rank, num_ranks = dist.get_rank(), dist.get_world_size()
    num_local = NUM_EXPERTS // num_ranks
    hidden, ids, weights = (torch.from_numpy(part) for part in batches[rank])
    own = experts(rank * num_local, (rank + 1) * num_local)
    group = dist.group.WORLD
    received = dispatch(hidden.to(dtype), ids, weights, num_local_experts=num_local, group=group)
    output = moe_int4(received.hidden_states, own, received.topk_ids, received.topk_weights)
    total = combine(output, received, group)
    assert total.dtype == dtype
    return total.float().numpy(), received.hidden_states.shape[0]


def check(batches: list[Any], tolerance: float = TOLERANCE, **options: Any) -> list[int]:
    """Compare every rank's outputs with one rank's; return the rows each rank computed."""
    arrays = [tuple(np.asarray(part) for part in batch) for batch in batches]
    answers = run_ranks(len(batches), send_and_combine, arrays, *options.values())
    for (hidden, ids, weights), (output, _) in zip(batches, answers, strict=True):
        expected = moe_int4(hidden, experts(), ids, weights)
        np.testing.assert_allclose(output, expected.numpy(), rtol=0, atol=tolerance)
    return [num_rows for _, num_rows in answers]


@pytest.mark.parametrize("num_ranks", [2, 4])
def test_every_rank_gets_what_one_rank_computes(num_ranks):
    check([tokens(rank, 5 + 3 * rank) for rank in range(num_ranks)])


@pytest.mark.parametrize("num_ranks", [2, 4])
def test_ranks_without_tokens_compute_for_the_others(num_ranks):
    check([tokens(0, 9), *(tokens(rank, 0) for rank in range(1, num_ranks))])


def test_no_rank_has_a_token():
    assert check([tokens(0, 0), tokens(1, 0)]) == [0, 0]


def test_all_tokens_of_all_ranks_go_to_one_rank():
    batches = [tokens(rank, 6) for rank in range(4)]
    on_last = [(hidden, 6 + ids % 2, weights) for hidden, ids, weights in batches]
    assert check(on_last) == [0, 0, 0, 24]


def test_a_token_travels_once_to_a_rank_whatever_its_number_of_experts_there():
    hidden, ids, weights = tokens(1, 4)
    on_first = ids % (NUM_EXPERTS // 2)
    assert check([(hidden, on_first, weights), tokens(2, 0)]) == [4, 0]


def test_an_expert_chosen_twice_counts_twice():
    hidden, ids, weights = tokens(1, 7)
    ids[:, 1] = ids[:, 0]
    check([(hidden, ids, weights), tokens(2, 2)])


def test_numbers_below_zero_are_no_experts():
    hidden, ids, weights = tokens(1, 7)
    ids[::2, 1] = -1
    ids[3] = -1
    check([(hidden, ids, weights), tokens(2, 2)])


def test_bf16_tokens_travel_as_they_are_and_are_summed_in_float32():
    batches = [tokens(rank, 5) for rank in range(2)]
    rounded = [(hidden.bfloat16().float(), ids, weights) for hidden, ids, weights in batches]
    # outputs of order one: two partial sums and the total are rounded to 8 bits
    check(rounded, tolerance=3 * 2**-8 * 2, dtype=torch.bfloat16)


def refuse(num_local: int) -> str:
    hidden, ids, weights = tokens(0, 2)
    ids[1, 2] = 2 * num_local
    try:
        dispatch(hidden, ids, weights, num_local_experts=num_local, group=dist.group.WORLD)
    except ValueError as error:
        return str(error)
    return ""


def test_an_expert_that_no_rank_holds_is_refused_before_anything_is_sent():
    assert (
        run_ranks(2, refuse, NUM_EXPERTS) == ["topk_ids: want expert numbers below 16, got 16"] * 2
    )
