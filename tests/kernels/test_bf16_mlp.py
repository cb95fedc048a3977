"""A SwiGLU MLP with bf16 weights against float64, by the kernel and by plain torch."""

import pytest
import torch

from sglang_kimi.kernels.linear import bf16_mlp as module
from sglang_kimi.kernels.linear.bf16_mlp import bf16_mlp

FLOAT32 = 1e-6  # relative; the largest seen was 2e-7


@pytest.fixture(params=["kernel", "torch"])
def way(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(module, "native_library", lambda: None)
    else:
        request.getfixturevalue("with_kernels")


def make(num_tokens, hidden, inter):
    generator = torch.Generator().manual_seed(num_tokens + hidden + inter)
    x = torch.randn(num_tokens, hidden, generator=generator)
    gate_up = (torch.randn(2 * inter, hidden, generator=generator) / hidden**0.5).bfloat16()
    down = (torch.randn(hidden, inter, generator=generator) / inter**0.5).bfloat16()
    return x, gate_up, down


def error(found, x, gate_up, down):
    gate, up = (x.double() @ gate_up.double().T).chunk(2, dim=-1)
    exact = (gate / (1 + (-gate).exp()) * up) @ down.double().T
    return float((found.double() - exact).norm() / exact.norm())


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("num_tokens", [1, 2, 7, 300])
@pytest.mark.parametrize(("hidden", "inter"), [(72, 37), (128, 256), (33, 1)])
def test_output_equals_float64(num_tokens, hidden, inter):
    x, gate_up, down = make(num_tokens, hidden, inter)
    assert error(bf16_mlp(x, gate_up, down), x, gate_up, down) < FLOAT32


@pytest.mark.usefixtures("way")
def test_rows_of_a_wider_tensor_and_bfloat16_are_taken():
    x, gate_up, down = make(6, 72, 37)
    assert error(bf16_mlp(x.T.contiguous().T, gate_up, down), x, gate_up, down) < FLOAT32
    wide = torch.cat([x, x], dim=1)[:, :72]
    assert error(bf16_mlp(wide, gate_up, down), x, gate_up, down) < FLOAT32
    output = bf16_mlp(x.bfloat16().view(2, 3, 72), gate_up, down)
    assert (output.shape, output.dtype) == ((2, 3, 72), torch.bfloat16)
    assert error(output.view(6, 72), x.bfloat16(), gate_up, down) < 4e-3


@pytest.mark.usefixtures("way")
def test_large_gates_neither_overflow_nor_vanish():
    gate_up = torch.tensor([[1.0], [1.0]]).bfloat16()
    x = torch.tensor([[1e4], [-1e4]])
    output = bf16_mlp(x, gate_up, torch.ones(1, 1).bfloat16())
    torch.testing.assert_close(output, torch.tensor([[1e8], [0.0]]))


def test_no_tokens_give_no_rows():
    x, gate_up, down = make(0, 72, 37)
    assert bf16_mlp(x, gate_up, down).shape == (0, 72)


@pytest.mark.parametrize(("name", "shape"), [("x", (2, 71)), ("down", (72, 36))])
def test_a_shape_that_does_not_fit_is_named(name, shape):
    arguments = dict(zip(("x", "gate_up", "down"), make(2, 72, 37), strict=True))
    arguments[name] = torch.zeros(shape).to(arguments[name].dtype)
    with pytest.raises(ValueError, match=f"{name}: want"):
        bf16_mlp(**arguments)
