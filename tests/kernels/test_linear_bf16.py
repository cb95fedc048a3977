"""Products with bf16 weights against float64, by the kernel and by plain torch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sglang_kimi.kernels.linear import bf16
from sglang_kimi.kernels.linear.bf16 import bf16_bmm, bf16_linear

# Float32 sums of up to 3000 products in any order: the largest seen over 600 shapes was 3e-8.
FLOAT32 = 1e-7
BF16 = 4e-3  # half a step of bfloat16, 2^-9, and a little


@pytest.fixture(params=["kernel", "torch"])
def way(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(bf16, "native_library", lambda: None)
    else:
        request.getfixturevalue("with_kernels")


def make(num_rows, in_features, out_features, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_rows, in_features, generator=generator)
    weight = torch.randn(out_features, in_features, generator=generator).bfloat16()
    return x, weight


def assert_product(found, x, weight, bound=FLOAT32):
    """Compare with float64; the error is relative to sums of magnitudes, as sums may cancel."""
    exact = x.double() @ weight.double().mT
    scale = x.double().abs() @ weight.double().abs().mT
    assert float((found.double() - exact).norm() / scale.norm()) < bound


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("num_rows", [1, 2, 3, 4, 5, 13])
@pytest.mark.parametrize("in_features", [1, 33, 2500])
@pytest.mark.parametrize("out_features", [1, 7, 64])
def test_product_equals_float64(num_rows, in_features, out_features):
    x, weight = make(num_rows, in_features, out_features)
    assert_product(bf16_linear(x, weight), x, weight)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(1, 3000), st.integers(1, 40), st.integers(0, 2**31))
def test_any_shape_is_right(num_rows, in_features, out_features, seed):
    x, weight = make(num_rows, in_features, out_features, seed)
    assert_product(bf16_linear(x, weight), x, weight)


@pytest.mark.usefixtures("way")
def test_leading_dimensions_stay_and_the_result_has_the_activations_type():
    x, weight = make(6, 48, 10)
    output = bf16_linear(x.view(2, 3, 48).bfloat16(), weight)
    assert output.shape == (2, 3, 10)
    assert output.dtype == torch.bfloat16
    assert_product(output.view(6, 10), x.bfloat16(), weight, BF16)
    assert bf16_linear(x[0], weight).shape == (10,)


@pytest.mark.usefixtures("way")
def test_no_rows_give_no_rows():
    _, weight = make(1, 48, 10)
    assert bf16_linear(torch.empty(0, 48), weight).shape == (0, 10)
    assert bf16_linear(torch.empty(2, 0, 48), weight).shape == (2, 0, 10)


@pytest.mark.usefixtures("way")
def test_strided_activations_and_weights_are_read_right():
    x, weight = make(10, 64, 12)
    assert_product(bf16_linear(x[::2, :40], weight[:, :40]), x[::2, :40], weight[:, :40])
    columns = x.T.contiguous().T
    torch.testing.assert_close(bf16_linear(columns, weight), bf16_linear(x, weight))


@pytest.mark.usefixtures("with_kernels")
def test_a_row_is_the_same_number_alone_and_among_others_of_its_group():
    x, weight = make(9, 512, 40)
    together = bf16_linear(x, weight)
    for row in range(9):
        torch.testing.assert_close(bf16_linear(x[row], weight), together[row], atol=1e-4, rtol=1e-5)


@pytest.mark.usefixtures("with_kernels")
def test_any_number_of_threads_gives_the_same_bits():
    before = torch.get_num_threads()
    x, weight = make(5, 700, 133)
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(bf16_linear(x, weight))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("num_tokens", [1, 3, 21])
@pytest.mark.parametrize("is_transposed", [True, False])
def test_batched_product_equals_float64(num_tokens, is_transposed):
    generator = torch.Generator().manual_seed(3)
    by_token = torch.randn(num_tokens, 5, 128, generator=generator)
    weight = torch.randn(5, 72, 128, generator=generator).bfloat16().mT  # [5, 128, 72]
    if not is_transposed:
        weight = weight.contiguous()
    x = by_token.transpose(0, 1)
    assert_product(bf16_bmm(x, weight), x, weight.mT)


def test_wrong_arguments_are_named():
    x, weight = make(2, 48, 10)
    with pytest.raises(ValueError, match=r"x: want \[\*, 48\] as weight's rows, got \[2, 47\]"):
        bf16_linear(x[:, :47], weight)
    with pytest.raises(ValueError, match=r"x: want float32 or bfloat16, got torch.float16"):
        bf16_linear(x.half(), weight)
    with pytest.raises(ValueError, match=r"weight: want bfloat16, .* got torch.float32"):
        bf16_linear(x, weight.float())
    with pytest.raises(ValueError, match=r"weight: want \[out_features, in_features\]"):
        bf16_linear(x, weight[0])
    with pytest.raises(ValueError, match=r"x: want \[3, num_tokens, 10\]"):
        bf16_bmm(x.expand(3, 2, 48), weight.expand(3, 10, 48))
