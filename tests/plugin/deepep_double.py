"""DeepEP's dispatcher for several ranks in one process, in plain torch: its layouts, no transport.

Built from SGLang's own named tuples. A rank's local expert `e` is physical expert
`rank * num_local_experts + e`. What DeepEP leaves undefined is filled with what would be noticed:
unfilled rows of low latency's tables with infinity.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sglang.srt.layers.moe.token_dispatcher.deepep import (
    DeepEPLLCombineInput,
    DeepEPLLDispatchOutput,
    DeepEPNormalCombineInput,
    DeepEPNormalDispatchOutput,
)
from torch import Tensor


@dataclass
class RankTokens:
    """What one rank brings: [num_tokens, hidden_size] bf16, physical ids and float32 weights."""

    hidden_states: Tensor
    topk_ids: Tensor
    topk_weights: Tensor


class NormalDouble:
    """Each token travels once to every rank that holds one of its experts."""

    def __init__(self, ranks: list[RankTokens], num_local_experts: int) -> None:
        self.ranks = ranks
        self.num_local_experts = num_local_experts
        self.sources: list[list[tuple[int, int]]] = []

    def dispatch(self) -> list[DeepEPNormalDispatchOutput]:
        """Return what each rank receives: tokens of rank 0 first, then of rank 1, and so on."""
        return [self._received(rank) for rank in range(len(self.ranks))]

    def _received(self, rank: int) -> DeepEPNormalDispatchOutput:
        first = rank * self.num_local_experts
        rows, ids, weights, sources = [], [], [], []
        for source, brought in enumerate(self.ranks):
            local = brought.topk_ids - first
            is_local = (local >= 0) & (local < self.num_local_experts)
            for token in is_local.any(dim=1).nonzero().flatten().tolist():
                rows.append(brought.hidden_states[token])
                ids.append(local[token].masked_fill(~is_local[token], -1))
                weights.append(brought.topk_weights[token].masked_fill(~is_local[token], 0.0))
                sources.append((source, token))
        self.sources.append(sources)
        like = self.ranks[0]
        topk_ids = _stack(ids, like.topk_ids).long()
        counts = [int((topk_ids == e).sum()) for e in range(self.num_local_experts)]
        return DeepEPNormalDispatchOutput(
            _stack(rows, like.hidden_states),
            None,
            topk_ids,
            _stack(weights, like.topk_weights),
            counts,
        )

    def combine(self, inputs: list[DeepEPNormalCombineInput]) -> list[Tensor]:
        """Sum the rows that came from one token, at its home."""
        totals = [torch.zeros_like(brought.hidden_states).float() for brought in self.ranks]
        for combine_input, sources in zip(inputs, self.sources, strict=True):
            assert combine_input.format.value == "deepep_normal"
            for row, (source, token) in zip(combine_input.hidden_states, sources, strict=True):
                totals[source][token] += row.float()
        return [total.bfloat16() for total in totals]


class LowLatencyDouble:
    """Each (token, slot) pair is a row of its expert's table on the rank that holds the expert."""

    def __init__(
        self, ranks: list[RankTokens], num_local_experts: int, max_tokens_per_rank: int
    ) -> None:
        self.ranks = ranks
        self.num_local_experts = num_local_experts
        self.max_rows = max_tokens_per_rank * len(ranks)
        self.places: dict[tuple[int, int, int], tuple[int, int, int]] = {}

    def dispatch(self) -> list[DeepEPLLDispatchOutput]:
        """Return each rank's tables; ids and weights are those of its own tokens, as in DeepEP."""
        num_ranks, hidden_size = len(self.ranks), self.ranks[0].hidden_states.shape[1]
        shape = (num_ranks, self.num_local_experts, self.max_rows, hidden_size)
        tables = torch.full(shape, torch.inf, dtype=torch.bfloat16)
        counts = torch.zeros(shape[:2], dtype=torch.int32)
        for source, brought in enumerate(self.ranks):
            for token, ids in enumerate(brought.topk_ids.tolist()):
                for slot, expert in enumerate(ids):
                    if expert >= 0:
                        rank, local = divmod(expert, self.num_local_experts)
                        row = int(counts[rank, local])
                        tables[rank, local, row] = brought.hidden_states[token]
                        self.places[source, token, slot] = rank, local, row
                        counts[rank, local] += 1
        return [
            DeepEPLLDispatchOutput(
                tables[rank], None, own.topk_ids.long(), own.topk_weights, counts[rank], 2
            )
            for rank, own in enumerate(self.ranks)
        ]

    def combine(self, inputs: list[DeepEPLLCombineInput]) -> list[Tensor]:
        """Weight and sum each token's rows at its home, by the ids and weights given back."""
        totals = []
        for source, home in enumerate(inputs):
            assert home.format.value == "deepep_ll"
            total = torch.zeros(*self.ranks[source].hidden_states.shape)
            for token, ids in enumerate(home.topk_ids.tolist()):
                for slot, expert in enumerate(ids):
                    if expert >= 0:
                        rank, local, row = self.places[source, token, slot]
                        weight = home.topk_weights[token, slot]
                        total[token] += weight * inputs[rank].hidden_states[local, row].float()
            totals.append(total.bfloat16())
        return totals


def _stack(rows: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(rows) if rows else like.new_empty(0, *like.shape[1:])
