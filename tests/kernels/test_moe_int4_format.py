"""Packing is compressed-tensors' excess-8 layout, lowest nibble first, and loses nothing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sglang_kimi.kernels.moe.int4 import dequantize_int4, pack_int4, quantize_int4, unpack_int4


def test_the_first_input_lies_in_the_lowest_nibble_as_q_plus_8() -> None:
    q = torch.tensor([[-8, -7, 0, 1, 2, 3, 4, 7]])
    codes = [0, 1, 8, 9, 10, 11, 12, 15]
    word = sum(code << (4 * position) for position, code in enumerate(codes))
    assert pack_int4(q).tolist() == [[word - (1 << 32)]]  # int32 shows the top bit as a sign


def test_little_endian_bytes_hold_even_inputs_low_and_odd_inputs_high() -> None:
    q = torch.arange(-8, 8).view(1, 16)
    octets = pack_int4(q).view(torch.uint8).flatten().tolist()
    assert octets == [(2 * i) | (2 * i + 1) << 4 for i in range(8)]


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_unpacking_undoes_packing(data: st.DataObject) -> None:
    num_rows = data.draw(st.integers(0, 5))
    num_inputs = 8 * data.draw(st.integers(1, 9))
    seed = data.draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    q = torch.randint(-8, 8, (num_rows, num_inputs), generator=generator, dtype=torch.int8)
    assert torch.equal(unpack_int4(pack_int4(q)), q)


def test_packing_works_on_any_leading_dimensions_and_strides() -> None:
    q = torch.randint(-8, 8, (3, 16, 5, 2), generator=torch.Generator().manual_seed(0))
    turned = q.permute(0, 3, 2, 1)
    assert torch.equal(unpack_int4(pack_int4(turned)), turned.to(torch.int8))
    strided = pack_int4(q.flatten(1).contiguous().view(3, 160)).repeat(1, 2)[:, ::2]
    assert torch.equal(unpack_int4(strided), unpack_int4(strided.contiguous()))


def test_dequantised_weight_is_code_minus_8_times_its_groups_scale() -> None:
    q = torch.randint(-8, 8, (4, 64), generator=torch.Generator().manual_seed(1))
    scale = torch.tensor([[0.5, 2.0], [1.0, -1.0], [0.0, 3.0], [0.25, 0.125]]).bfloat16()
    expected = [
        [int(q[row, k]) * float(scale[row, k // 32]) for k in range(64)] for row in range(4)
    ]
    assert dequantize_int4(pack_int4(q), scale).tolist() == expected


def test_quantising_errs_by_at_most_half_a_step_and_bf16_rounding_of_the_scale() -> None:
    weight = torch.randn(7, 96, generator=torch.Generator().manual_seed(2))
    packed, scale = quantize_int4(weight)
    assert packed.dtype == torch.int32
    assert scale.dtype == torch.bfloat16
    step = scale.float().repeat_interleave(32, dim=-1)
    # A largest positive weight is 7.5 steps and clamps at 7; the scale's rounding moves it by 2^-8.
    assert bool(((dequantize_int4(packed, scale) - weight).abs() <= step * (0.5 + 7.5 / 256)).all())


def test_the_scale_spreads_the_largest_magnitude_over_seven_and_a_half_steps() -> None:
    weight = torch.zeros(1, 64)
    weight[0, 3], weight[0, 4] = -15.0, 14.0  # first group: scale 2
    weight[0, 40] = 3.75  # second group: scale 0.5, and 7.5 rounds to 8, which clamps to 7
    packed, scale = quantize_int4(weight)
    assert scale.tolist() == [[2.0, 0.5]]
    q = unpack_int4(packed)
    assert (q[0, 3], q[0, 4], q[0, 40]) == (-8, 7, 7)


def test_a_group_of_zeros_stays_zero() -> None:
    packed, scale = quantize_int4(torch.zeros(2, 64))
    assert torch.equal(dequantize_int4(packed, scale), torch.zeros(2, 64))
    assert bool((scale != 0).all())


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"q: last dimension must be a multiple of 8"):
        pack_int4(torch.zeros(2, 7, dtype=torch.int8))
    with pytest.raises(ValueError, match=r"q: values must be -8\.\.7, got 0\.\.8"):
        pack_int4(torch.tensor([0, 8, 0, 0, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match="packed: want int32 words"):
        unpack_int4(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="scale: want"):
        dequantize_int4(torch.zeros(2, 4, dtype=torch.int32), torch.ones(2, 3))
    with pytest.raises(ValueError, match="weight: last dimension"):
        quantize_int4(torch.zeros(2, 33))
