"""Send each token to the ranks that hold its experts, and bring the weighted sums home.

Plain torch.distributed (gloo on the CPU), no SGLang. Every rank of the group calls `dispatch` and
`combine` once a layer, with or without tokens of its own: both are collectives.

A token travels once to a rank however many experts it has there; that rank adds up its experts'
weighted outputs, so one row comes back for each row that was sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist

WORD_BYTES = 4  # ids and weights travel beside the hidden states, all as int32 words


@dataclass(frozen=True, eq=False)
class ReceivedTokens:
    """What one rank computes for all ranks, grouped by the rank that sent it.

    hidden_states: [num_received, hidden_size] of the senders' type.
    topk_ids:      [num_received, top_k] int32 numbers of this rank's experts, -1 = elsewhere.
    topk_weights:  [num_received, top_k] float32.
    sent_rows:     [num_sent] int64: which own token each sent row was, grouped by receiving rank.
    num_sent, num_received: rows exchanged with each rank.
    num_tokens:    tokens that this rank brought.
    """

    hidden_states: Tensor
    topk_ids: Tensor
    topk_weights: Tensor
    sent_rows: Tensor
    num_sent: list[int]
    num_received: list[int]
    num_tokens: int


def dispatch(
    hidden_states: Tensor,
    topk_ids: Tensor,
    topk_weights: Tensor,
    *,
    num_local_experts: int,
    group: dist.ProcessGroup,
) -> ReceivedTokens:
    """Exchange tokens over `group`, whose rank r holds experts from r * num_local_experts on.

    hidden_states: [num_tokens, hidden_size], an even hidden_size where it is bf16; topk_ids:
    [num_tokens, top_k] over all ranks' experts, below 0 = none; topk_weights: the same shape.
    Raises ValueError for an expert that no rank holds, before anything is sent.
    """
    num_ranks = dist.get_world_size(group)
    refuse_unknown_experts(topk_ids, num_ranks * num_local_experts)
    owners = torch.where(topk_ids >= 0, topk_ids // num_local_experts, -1)
    ranks = torch.arange(num_ranks, device=topk_ids.device)
    goes_to = (owners.unsqueeze(0) == ranks.view(-1, 1, 1)).any(dim=2)
    receivers, sent_rows = goes_to.nonzero(as_tuple=True)
    num_sent = goes_to.sum(dim=1)
    num_received = torch.empty_like(num_sent)
    dist.all_to_all_single(num_received, num_sent, group=group)
    sizes = num_sent.tolist(), num_received.tolist()
    is_theirs = owners[sent_rows] == receivers.unsqueeze(1)
    their_ids = torch.where(is_theirs, topk_ids[sent_rows] % num_local_experts, -1)
    rows = torch.cat(
        [
            as_words(hidden_states[sent_rows]),
            their_ids.int(),
            as_words(topk_weights[sent_rows].float()),
        ],
        dim=1,
    )
    received = exchange_rows(rows, *sizes, group)
    top_k = topk_ids.shape[1]
    width = received.shape[1] - 2 * top_k
    return ReceivedTokens(
        received[:, :width].contiguous().view(hidden_states.dtype),
        received[:, width : width + top_k].contiguous(),
        received[:, width + top_k :].contiguous().view(torch.float32),
        sent_rows,
        *sizes,
        num_tokens=hidden_states.shape[0],
    )


def combine(output: Tensor, received: ReceivedTokens, group: dist.ProcessGroup) -> Tensor:
    """Send each row of `output` back and return this rank's own tokens, summed in float32.

    output: [num_received, hidden_size], the weighted sum of this rank's experts for each received
    token. Returns [num_tokens, hidden_size] of the same type, complete; zeros for a token without
    experts.
    """
    returned = exchange_rows(as_words(output), received.num_received, received.num_sent, group)
    total = output.new_zeros(received.num_tokens, output.shape[1], dtype=torch.float32)
    total.index_add_(0, received.sent_rows, returned.view(output.dtype).float())
    return total.to(output.dtype)


def exchange_rows(
    rows: Tensor, num_sent: list[int], num_received: list[int], group: dist.ProcessGroup
) -> Tensor:
    """Send consecutive blocks of rows, one to each rank; return those received, in rank order."""
    received = rows.new_empty(sum(num_received), rows.shape[1])
    dist.all_to_all_single(received, rows.contiguous(), num_received, num_sent, group=group)
    return received


def as_words(rows: Tensor) -> Tensor:
    """View rows as int32 words, to travel in one message."""
    if rows.shape[1] * rows.element_size() % WORD_BYTES:
        raise ValueError(
            f"hidden_states: want rows of whole {WORD_BYTES}-byte words, "
            f"got {rows.shape[1]} of {rows.dtype}"
        )
    return rows.contiguous().view(torch.int32)


def refuse_unknown_experts(topk_ids: Tensor, num_experts: int) -> None:
    """Raise ValueError where an expert number is beyond the last; on the CPU only (it waits)."""
    if topk_ids.device.type == "cpu" and topk_ids.numel() and topk_ids.max() >= num_experts:
        raise ValueError(
            f"topk_ids: want expert numbers below {num_experts}, got {int(topk_ids.max())}"
        )
