"""INT4 experts on a GPU by our Triton kernels and by Marlin, against plain torch in float32.

bf16 activations, an activation rounded between the two products and sums of bf16 outputs: 2^-7 of
the largest output is the bound for both.
"""

import pytest
import torch

from sglang_kimi.kernels.moe.int4 import Int4Experts, moe_int4
from sglang_kimi.kernels.moe.int4_reference import ref_moe_int4

from .gpu_timing import copy_gb_per_s, median_ms, show

TOLERANCE = 2**-7


def random_experts(num_experts, hidden, inter):
    def words(*shape):
        info = torch.iinfo(torch.int32)
        return torch.randint(info.min, info.max, shape, dtype=torch.int32, device="cuda")

    def scales(*shape):
        return (torch.rand(*shape, device="cuda") * 0.01 + 0.005).bfloat16()

    return Int4Experts(
        w13=words(num_experts, 2 * inter, hidden // 8),
        w13_scale=scales(num_experts, 2 * inter, hidden // 32),
        w2=words(num_experts, hidden, inter // 8),
        w2_scale=scales(num_experts, hidden, inter // 32),
    )


def random_tokens(num_tokens, hidden, num_experts, top_k):
    x = torch.randn(num_tokens, hidden, device="cuda").bfloat16()
    scores = torch.rand(num_tokens, num_experts, device="cuda")
    weights, ids = scores.topk(top_k)
    return x, ids, weights / weights.sum(-1, keepdim=True)


@pytest.fixture(params=["triton", "marlin"])
def run(request, monkeypatch):
    """A kernel with the experts as its first argument, repacked once as a layer does at load."""
    monkeypatch.setenv("SGLANG_KIMI_MOE_KERNEL", "triton")
    if request.param == "triton":
        return lambda experts: lambda *tokens: moe_int4(tokens[0], experts, *tokens[1:])
    from sglang_kimi.moe.marlin import MarlinExperts

    return lambda experts: MarlinExperts(experts).run


def check(kernel, experts, tokens, rows=slice(None)):
    x, ids, weights = tokens
    output = kernel(x, ids, weights)[rows].float()
    expected = ref_moe_int4(x[rows].float(), experts, ids[rows], weights[rows])
    assert (output - expected).abs().max() / expected.abs().max() < TOLERANCE


@pytest.mark.parametrize("num_tokens", [1, 7, 64, 300])
@pytest.mark.parametrize(("hidden", "inter"), [(256, 128), (1024, 512)])
def test_the_experts_equal_the_reference(run, num_tokens, hidden, inter):
    torch.manual_seed(num_tokens)
    experts = random_experts(16, hidden, inter)
    check(run(experts), experts, random_tokens(num_tokens, hidden, 16, 4))


def test_our_kernel_takes_odd_sizes(monkeypatch):
    monkeypatch.setenv("SGLANG_KIMI_MOE_KERNEL", "triton")
    experts = random_experts(16, 96, 160)
    x, ids, weights = random_tokens(33, 96, 16, 4)
    expected = ref_moe_int4(x.float(), experts, ids, weights)
    output = moe_int4(x, experts, ids, weights).float()
    assert (output - expected).abs().max() / expected.abs().max() < TOLERANCE


def test_experts_of_other_ranks_are_skipped(run):
    experts = random_experts(8, 256, 128)
    x, ids, weights = random_tokens(33, 256, 16, 4)
    ids[ids >= 8] = -1
    check(run(experts), experts, (x, ids, weights))


def test_a_captured_call_replays_with_other_tokens(run):
    experts = random_experts(16, 256, 128)
    kernel, tokens = run(experts), random_tokens(8, 256, 16, 4)
    kernel(*tokens)  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = kernel(*tokens)
    for tensor, value in zip(tokens, random_tokens(8, 256, 16, 4), strict=True):
        tensor.copy_(value)
    graph.replay()
    expected = ref_moe_int4(tokens[0].float(), experts, *tokens[1:])
    assert (output.float() - expected).abs().max() / expected.abs().max() < TOLERANCE


@pytest.mark.slow
def test_a_true_size_layer_prints_its_share_of_the_bandwidth(run, request):
    num_experts, hidden, inter = 384, 7168, 2048
    experts = random_experts(num_experts, hidden, inter)
    kernel, limit = run(experts), copy_gb_per_s()
    bytes_of_one = 3 * hidden * inter * 9 // 16
    for num_tokens in (1, 8, 32):
        tokens = random_tokens(num_tokens, hidden, num_experts, 8)
        check(kernel, experts, tokens, rows=slice(0, 2))
        milliseconds = median_ms(lambda tokens=tokens: kernel(*tokens))
        touched = len(tokens[1].unique()) * bytes_of_one
        name = request.node.callspec.params["run"]
        show(f"INT4 experts, true size, {name}, {num_tokens} tokens", touched, milliseconds, limit)
