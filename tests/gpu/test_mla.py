"""FlashInfer's MLA kernels under our wrapper equal the plain-torch reference.

bf16 holds 8 bits: outputs are weighted means of values around 1, rounded once, from weights that
the kernel rounds to bf16 too; 2^-7 of the largest is the bound.
"""

import pytest
import torch

from sglang_kimi.kernels.mla.absorbed_reference import ref_mla_absorbed
from sglang_kimi.kernels.mla.flashinfer_mla import (
    WORKSPACE_BYTES,
    FlashInferMla,
    GraphBuffers,
    MlaShape,
    choose_backend,
)
from sglang_kimi.kernels.mla.paged_csr import paged_csr

from .gpu_timing import copy_gb_per_s, median_ms, show

RANK, ROPE = 512, 64
TOLERANCE = 2**-7


class Case:
    """A cache with the pages of some sequences in random order, and a wrapper on it."""

    def __init__(self, num_heads, page_size, num_rows, max_len=1024, backend="auto", graph=None):
        torch.manual_seed(page_size)
        num_pages = num_rows * max_len // page_size
        self.cache = torch.randn(num_pages * page_size, RANK + ROPE, device="cuda").bfloat16()
        pages = torch.randperm(num_pages, device="cuda")
        slots = pages[:, None] * page_size + torch.arange(page_size, device="cuda")
        self.table = slots.view(num_rows, max_len).int()
        self.shape = MlaShape(num_heads, RANK, ROPE, page_size, 192**-0.5, torch.bfloat16)
        workspace = torch.empty(WORKSPACE_BYTES, dtype=torch.uint8, device="cuda")
        kernel = choose_backend(backend, num_heads, torch.cuda.get_device_capability())
        self.wrapper = FlashInferMla(self.shape, workspace, backend=kernel, graph=graph)

    def plan(self, query_lens, seq_lens):
        rows = torch.arange(len(seq_lens), device="cuda")
        self.wrapper.plan(
            paged_csr(
                self.table,
                rows,
                query_lens=query_lens,
                seq_lens=seq_lens,
                page_size=self.shape.page_size,
            )
        )
        return torch.randn(
            sum(query_lens), self.shape.num_heads, RANK + ROPE, device="cuda"
        ).bfloat16()

    def expected(self, query, query_lens, seq_lens):
        outputs = [
            ref_mla_absorbed(
                part.float(),
                self.cache,
                self.table[row, :seq_len].long(),
                scaling=self.shape.scaling,
                kv_lora_rank=RANK,
            )
            for row, (part, seq_len) in enumerate(
                zip(query.split(list(query_lens)), seq_lens, strict=True)
            )
        ]
        return torch.cat(outputs)


def close(output, expected):
    difference = (output.float() - expected).abs().max() / expected.abs().max()
    assert difference < TOLERANCE


@pytest.mark.parametrize("backend", ["fa2", "fa3"])
@pytest.mark.parametrize("page_size", [1, 64])
@pytest.mark.parametrize("num_heads", [64, 8])
@pytest.mark.parametrize(
    ("query_lens", "seq_lens"),
    [
        ((1, 1, 1), (1, 700, 65)),
        ((300, 17), (300, 17)),
        ((5, 100), (900, 164)),
        ((4, 4), (804, 68)),
        ((0, 3), (1, 3)),
    ],
    ids=["decode", "prefill", "prefix", "verify", "padded"],
)
def test_decode_prefill_prefix_and_verify_equal_the_reference(
    backend, page_size, num_heads, query_lens, seq_lens
):
    if backend == "fa3" and torch.cuda.get_device_capability()[0] != 9:
        pytest.skip("fa3 is for Hopper")
    case = Case(num_heads, page_size, len(seq_lens), backend=backend)
    query = case.plan(query_lens, seq_lens)
    close(case.wrapper.run(query, case.cache), case.expected(query, query_lens, seq_lens))


@pytest.mark.parametrize("width", [1, 4], ids=["decode", "verify"])
@pytest.mark.parametrize("page_size", [1, 64])
def test_a_captured_step_replays_other_lengths_after_a_new_plan(width, page_size):
    buffers = GraphBuffers(3, 1024, "cuda").of_batch(3)
    case = Case(64, page_size, 3, graph=buffers)
    lens = [width] * 3
    query = case.plan(lens, lens)
    case.wrapper.run(query, case.cache)  # compiles, and warms up
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = case.wrapper.run(query, case.cache)
    for seq_lens in ([900, 70, 5], [4, 1024, 512]):
        query.copy_(case.plan(lens, seq_lens))
        graph.replay()
        close(output, case.expected(query, lens, seq_lens))


@pytest.mark.parametrize("batch", [1, 8, 32])
def test_true_size_decode_prints_its_share_of_the_bandwidth(batch):
    seq_len = 8192
    case = Case(64, 64, batch, max_len=seq_len)
    lens, seq_lens = [1] * batch, [seq_len] * batch
    query = case.plan(lens, seq_lens)
    output = case.wrapper.run(query, case.cache)
    close(output[:1], case.expected(query[:1], [1], [seq_len]))
    milliseconds = median_ms(lambda: case.wrapper.run(query, case.cache))
    num_bytes = batch * seq_len * (RANK + ROPE) * 2
    show(f"MLA decode, 64 heads, {batch} x {seq_len}", num_bytes, milliseconds, copy_gb_per_s())
