"""FlashInfer's kernel is chosen by the GPU; asking for one that cannot run is an error.

What the wrapper plans and computes is tested with FlashInfer itself in tests/plugin/test_gpu_mla.py
(its import takes ten seconds), the kernels in tests/gpu.
"""

import pytest

from sglang_kimi.kernels.mla.flashinfer_mla import GraphBuffers, choose_backend

HOPPER, BLACKWELL, AMPERE, TURING = (9, 0), (10, 0), (8, 0), (7, 5)


@pytest.mark.parametrize(
    ("capability", "backend"),
    [(HOPPER, "fa3"), (BLACKWELL, "fa2"), (AMPERE, "fa2"), ((12, 0), "fa2")],
)
@pytest.mark.parametrize("num_heads", [64, 32, 8, 1])
def test_hopper_runs_fa3_and_every_other_gpu_fa2(capability, backend, num_heads):
    assert choose_backend("auto", num_heads, capability) == backend


def test_what_is_asked_for_is_taken():
    assert choose_backend("fa2", 64, HOPPER) == "fa2"


@pytest.mark.parametrize(
    ("asked", "num_heads", "capability", "message"),
    [
        ("cutlass", 64, BLACKWELL, "cutlass takes exactly 128 heads.*this rank has 64"),
        ("fa3", 64, BLACKWELL, "fa3 needs a Hopper GPU"),
        ("trtllm-gen", 64, BLACKWELL, "SGLANG_KIMI_MLA_KERNEL: got 'trtllm-gen', want one of auto"),
        ("auto", 64, TURING, "needs a GPU of 8.0"),
        ("auto", 48, HOPPER, "num_heads: .* got 48"),
    ],
)
def test_what_cannot_run_is_refused_by_name(asked, num_heads, capability, message):
    with pytest.raises(ValueError, match=message):
        choose_backend(asked, num_heads, capability)


def test_graph_buffers_of_all_batch_sizes_are_the_same_memory():
    buffers = GraphBuffers(max_batch=4, pages_per_sequence=10, device="cpu")
    small, large = buffers.of_batch(2), buffers.of_batch(4)
    assert {name: len(tensor) for name, tensor in small.items()} == {
        "qo_indptr": 3,
        "kv_indptr": 3,
        "kv_indices": 20,
        "kv_len_arr": 2,
    }
    assert all(small[name].data_ptr() == large[name].data_ptr() for name in small)
