"""The sequences of a batch as index ranges of a paged cache (CSR), as FlashInfer plans them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class PagedCsr(NamedTuple):
    """Where the queries and the cached tokens of each sequence lie; all int32.

    The lengths stay on the CPU, where the plan reads them: no wait for the device.

    qo_indptr:  [batch + 1] CPU; sequence i asks with rows qo_indptr[i] to qo_indptr[i + 1].
    kv_indptr:  [batch + 1] CPU; its pages are kv_indices[kv_indptr[i] : kv_indptr[i + 1]].
    kv_indices: [pages of all sequences] on the cache's device: page numbers.
    kv_lens:    [batch] CPU; tokens of the sequence, the new ones included.
    """

    qo_indptr: Tensor
    kv_indptr: Tensor
    kv_indices: Tensor
    kv_lens: Tensor


def paged_csr(
    req_to_token: Tensor,
    rows: Tensor,
    *,
    query_lens: Sequence[int],
    seq_lens: Sequence[int],
    page_size: int,
) -> PagedCsr:
    """Return the index ranges of a batch.

    req_to_token: [num_rows, max_len] int, the cache slot of each position of a sequence; the slots
                  of a page lie together and in order.
    rows:         [batch] int, the row of each sequence, on req_to_token's device.
    query_lens:   new tokens of each sequence (the last ones of it); 0 is allowed.
    seq_lens:     tokens of each sequence, the new ones included; 0 is allowed.

    Nothing here waits for the device. Raises ValueError for lengths that do not fit together.
    """
    _check(rows, query_lens, seq_lens, req_to_token.shape[1], page_size)
    kv_lens = torch.tensor(seq_lens, dtype=torch.int32)
    num_pages = (kv_lens + page_size - 1) // page_size
    kv_indptr = _indptr(num_pages)
    return PagedCsr(
        qo_indptr=_indptr(torch.tensor(query_lens, dtype=torch.int32)),
        kv_indptr=kv_indptr,
        kv_indices=_page_numbers(req_to_token, rows, num_pages, kv_indptr, page_size),
        kv_lens=kv_lens,
    )


def _page_numbers(
    req_to_token: Tensor, rows: Tensor, num_pages: Tensor, kv_indptr: Tensor, page_size: int
) -> Tensor:
    device, total = req_to_token.device, int(kv_indptr[-1])
    owner = torch.repeat_interleave(num_pages.to(device, torch.int64), output_size=total)
    first = kv_indptr.to(device, torch.int64)
    position = (torch.arange(total, device=device) - first[owner]) * page_size
    slots = req_to_token[rows.to(torch.int64)[owner], position]
    return (slots // page_size).to(torch.int32)


def _indptr(lengths: Tensor) -> Tensor:
    indptr = torch.zeros(len(lengths) + 1, dtype=torch.int32)
    torch.cumsum(lengths, dim=0, out=indptr[1:])
    return indptr


def _check(
    rows: Tensor,
    query_lens: Sequence[int],
    seq_lens: Sequence[int],
    max_len: int,
    page_size: int,
) -> None:
    if page_size < 1:
        raise ValueError(f"page_size: want at least 1, got {page_size}")
    if not len(rows) == len(query_lens) == len(seq_lens):
        raise ValueError(
            f"rows, query_lens, seq_lens: want one entry a sequence in each, got {len(rows)}, "
            f"{len(query_lens)}, {len(seq_lens)}"
        )
    for i, (query_len, seq_len) in enumerate(zip(query_lens, seq_lens, strict=True)):
        if not 0 <= query_len <= seq_len:
            raise ValueError(
                f"query_lens[{i}]: want 0 to seq_lens[{i}] = {seq_len}, got {query_len}"
            )
        if seq_len > max_len:
            raise ValueError(f"seq_lens[{i}]: want at most {max_len} (the table), got {seq_len}")
