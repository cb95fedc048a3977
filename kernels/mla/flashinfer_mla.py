"""Absorbed MLA on NVIDIA GPUs by FlashInfer's paged wrapper: plan once a step, run once a layer.

Its keyword interface is used: metadata as an object, query and cache each as one tensor. The math
is that of `absorbed_reference.ref_mla_absorbed`. Source: flashinfer 0.7.2, mla/_batch_mla.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor

from .paged_csr import PagedCsr

logger = logging.getLogger(__name__)

VARIABLE: Final = "SGLANG_KIMI_MLA_KERNEL"
CHOICES: Final = ("auto", "fa2", "fa3")
WORKSPACE_BYTES: Final = 128 * 1024 * 1024  # what flashinfer's documentation starts from


@dataclass(frozen=True)
class MlaShape:
    """What stays the same from step to step.

    num_heads:  query heads of this rank.
    scaling:    factor of the scores before the softmax.
    dtype:      of query, cache and output: bfloat16 or float16.
    """

    num_heads: int
    kv_lora_rank: int
    qk_rope_head_dim: int
    page_size: int
    scaling: float
    dtype: torch.dtype

    @property
    def width(self) -> int:
        """Return the features of one cached token."""
        return self.kv_lora_rank + self.qk_rope_head_dim


@cache
def chosen_backend(num_heads: int, capability: tuple[int, int]) -> str:
    """Return `choose_backend` of what the variable asks for; chosen once, said in the log."""
    asked = os.environ.get(VARIABLE, "auto")
    backend = choose_backend(asked, num_heads, capability)
    reason = f"as {VARIABLE} says" if asked != "auto" else "the fastest that plans under graphs"
    logger.info("MLA kernel: flashinfer %s on %d.%d (%s)", backend, *capability, reason)
    return backend


def choose_backend(asked: str, num_heads: int, capability: tuple[int, int]) -> str:
    """Return flashinfer's backend for a GPU: fa3 on Hopper, fa2 from Ampere on.

    Only these two plan again in place under a CUDA graph; they take every page size.
    Raises ValueError for another name, or for one that this GPU or this many heads cannot run.
    """
    if asked == "cutlass":
        raise ValueError(
            f"{VARIABLE}: cutlass takes exactly 128 heads and has no new plan under a CUDA graph; "
            f"this rank has {num_heads} heads, want one of {', '.join(CHOICES)}"
        )
    if asked not in CHOICES:
        raise ValueError(f"{VARIABLE}: got {asked!r}, want one of {', '.join(CHOICES)}")
    major, minor = capability
    if major < 8:
        raise ValueError(f"MLA by flashinfer needs a GPU of 8.0 (Ampere) on, got {major}.{minor}")
    if asked == "fa3" and major != 9:
        raise ValueError(f"{VARIABLE}: fa3 needs a Hopper GPU (9.0), this one has {major}.{minor}")
    if 128 % num_heads:  # a tile of queries would end between the heads of a token
        raise ValueError(f"num_heads: flashinfer's MLA wants a divisor of 128, got {num_heads}")
    if asked != "auto":
        return asked
    return "fa3" if major == 9 else "fa2"


class FlashInferMla:
    """One planned batch at a time; layers run on it until the next plan.

    Under a CUDA graph (`graph`: the buffers that the captured kernels read, see `GraphBuffers`)
    the batch size is fixed and `plan` writes the new batch into these buffers.
    """

    def __init__(
        self,
        shape: MlaShape,
        workspace: Tensor,
        *,
        backend: str,
        graph: Mapping[str, Tensor] | None = None,
    ) -> None:
        from flashinfer.mla import BatchMLAPagedAttentionWrapper, MLAPlanMetadata

        self._shape = shape
        self._metadata = MLAPlanMetadata
        self._wrapper: Any = BatchMLAPagedAttentionWrapper(
            workspace, use_cuda_graph=graph is not None, backend=backend, **(graph or {})
        )

    def plan(self, batch: PagedCsr) -> None:
        """Take over a batch: each sequence's queries are its last tokens, attended causally.

        Raises ValueError (flashinfer's) for a batch that the kernel cannot hold.
        """
        shape = self._shape
        self._wrapper.plan(
            metadata=self._metadata.csr(
                batch.qo_indptr, batch.kv_indptr, batch.kv_indices, batch.kv_lens
            ),
            num_heads=shape.num_heads,
            head_dim_ckv=shape.kv_lora_rank,
            head_dim_kpe=shape.qk_rope_head_dim,
            page_size=shape.page_size,
            causal=bool((batch.qo_indptr.diff() > 1).any()),  # a single query sees all keys
            sm_scale=shape.scaling,
            q_data_type=shape.dtype,
            kv_data_type=shape.dtype,
        )

    def run(self, query: Tensor, kv_cache: Tensor) -> Tensor:
        """Attend the planned batch.

        query:    [num_tokens, num_heads, kv_lora_rank + qk_rope_head_dim], sequence by sequence;
                  rows behind the planned ones (padding) give rows of any content.
        kv_cache: [num_slots, kv_lora_rank + qk_rope_head_dim] or with a 1 between.

        Returns [num_tokens, num_heads, kv_lora_rank] in query's dtype.
        """
        shape = self._shape
        whole = kv_cache.shape[0] // shape.page_size * shape.page_size
        pages = kv_cache[:whole].view(-1, shape.page_size, shape.width)
        output = query.new_empty(*query.shape[:2], shape.kv_lora_rank)
        self._wrapper.run(query=query, kv_cache=pages, out=output)
        return output


class GraphBuffers:
    """The index buffers that captured kernels of all batch sizes read, allocated once."""

    def __init__(self, max_batch: int, pages_per_sequence: int, device: torch.device | str) -> None:
        """pages_per_sequence: of the longest sequence that there may be."""

        def zeros(length: int) -> Tensor:
            return torch.zeros(length, dtype=torch.int32, device=device)

        self._pages_per_sequence = pages_per_sequence
        self._qo_indptr, self._kv_indptr = zeros(max_batch + 1), zeros(max_batch + 1)
        self._kv_indices, self._kv_lens = zeros(max_batch * pages_per_sequence), zeros(max_batch)

    def of_batch(self, batch_size: int) -> dict[str, Tensor]:
        """Return the parts for one batch size under the names of flashinfer's constructor.

        Not more than it needs: each plan under a graph copies the whole of them once.
        """
        return {
            "qo_indptr": self._qo_indptr[: batch_size + 1],
            "kv_indptr": self._kv_indptr[: batch_size + 1],
            "kv_indices": self._kv_indices[: batch_size * self._pages_per_sequence],
            "kv_len_arr": self._kv_lens[:batch_size],
        }
