"""The Triton kernels of the INT4 experts; `int4_triton` lays out their work and launches them.

One program computes one tile of one expert, transposed: block_n rows of its packed matrix times
block_m input rows, named by a block map (`expert_blocks`). The weights are the left factor, which
the tensor cores of Hopper take from registers, where they are expanded; few rows waste nothing.

A sum over inputs may take them in any order, so no nibble has to move: nibble 0 of a row's words is
one matrix, multiplied by inputs 0, 8, 16 and so on; nibble 1 the next, by inputs 1, 9, 17. Inputs
therefore come "by nibble", [*, 8, num_inputs // 8]: input 8 * word + nibble lies at [nibble, word].
A nibble becomes a number without an integer-to-float conversion, which a GPU does at a fraction of
its rate: 0x4B000000 | code is the float32 number 2^23 + code; 2^23 + 8 less is the weight, exact.
"""

# mypy: disable-error-code="untyped-decorator, no-untyped-def"

import triton
import triton.language as tl


@triton.jit
def _to_bf16(x, interpreted: tl.constexpr):
    """Round to the nearest bf16, ties to even; Triton's interpreter would cut the bits off."""
    if interpreted:
        bits = x.to(tl.int32, bitcast=True)
        x = ((bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000).to(tl.float32, bitcast=True)
    return x.to(tl.bfloat16)


@triton.jit
def _product(
    total,  # [block_n, block_m] float32
    packed,  # [block_n, block_words] int32
    scale,  # [block_n, block_words] float32
    x,  # [block_m, block_words] bf16, the inputs of this nibble
    nibble: tl.constexpr,
    interpreted: tl.constexpr,
):
    """Add the products of one nibble of each word to the total, weights rounded to bf16."""
    code = (packed >> (4 * nibble)) & 0xF
    weight = ((code | 0x4B000000).to(tl.float32, bitcast=True) - 8388616.0) * scale
    weight = _to_bf16(weight, interpreted)
    if interpreted:  # the interpreter multiplies bf16 numbers as if they were integers
        return tl.dot(weight.to(tl.float32), tl.trans(x.to(tl.float32)), acc=total)
    return tl.dot(weight, tl.trans(x), acc=total)


@triton.jit
def gate_up_kernel(
    x_ptr,  # [num_tokens, 8, hidden_size // 8] bf16, by nibble
    w13_ptr,  # [num_experts, 2 * inter_size, hidden_size // 8] int32
    w13_scale_ptr,  # [num_experts, 2 * inter_size, hidden_size // 32] bf16
    activated_ptr,  # [num_positions, 8, inter_size // 8] bf16, by nibble, written
    pair_ptr,  # [num_positions] pair of a position; not read without has_pairs
    block_expert_ptr,  # [num_blocks] expert of a block, below 0 = no work
    block_first_ptr,  # [num_blocks] first position of a block
    block_end_ptr,  # [num_blocks] where its expert's positions end
    num_slots: tl.constexpr,  # pairs a token
    hidden_size: tl.constexpr,
    inter_size: tl.constexpr,
    has_pairs: tl.constexpr,
    interpreted: tl.constexpr,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    block_words: tl.constexpr,
):
    """activated[position] = silu(w_gate x) * (w_up x)."""
    num_words: tl.constexpr = hidden_size // 8
    num_tiles: tl.constexpr = (inter_size + block_n - 1) // block_n
    block = tl.program_id(0) // num_tiles
    expert = tl.load(block_expert_ptr + block).to(tl.int64)
    if expert < 0:
        return
    positions = tl.load(block_first_ptr + block) + tl.arange(0, block_m)
    is_position = positions < tl.load(block_end_ptr + block)
    tokens = positions
    if has_pairs:
        tokens = tl.load(pair_ptr + positions, mask=is_position, other=0) // num_slots
    columns = (tl.program_id(0) % num_tiles) * block_n + tl.arange(0, block_n)
    is_column = columns < inter_size
    gate_rows = expert * (2 * inter_size) + columns
    gate_words = w13_ptr + gate_rows[:, None] * num_words
    gate_scales = w13_scale_ptr + gate_rows[:, None] * (num_words // 4)
    x_rows = x_ptr + tokens.to(tl.int64)[:, None] * hidden_size
    gate = tl.zeros([block_n, block_m], dtype=tl.float32)
    up = tl.zeros([block_n, block_m], dtype=tl.float32)
    for first in range(0, num_words, block_words):
        words = first + tl.arange(0, block_words)[None, :]
        is_word = words < num_words
        mask = is_column[:, None] & is_word
        gate_packed = tl.load(gate_words + words, mask=mask, other=0)
        up_packed = tl.load(gate_words + inter_size * num_words + words, mask=mask, other=0)
        groups = words // 4
        gate_scale = tl.load(gate_scales + groups, mask=mask, other=0.0).to(tl.float32)
        up_scales = gate_scales + inter_size * (num_words // 4)
        up_scale = tl.load(up_scales + groups, mask=mask, other=0.0).to(tl.float32)
        for nibble in tl.static_range(8):
            x_words = x_rows + nibble * num_words + words
            x = tl.load(x_words, mask=is_position[:, None] & is_word, other=0.0)
            gate = _product(gate, gate_packed, gate_scale, x, nibble, interpreted)
            up = _product(up, up_packed, up_scale, x, nibble, interpreted)
    activated = gate * tl.sigmoid(gate) * up
    places = (columns % 8) * (inter_size // 8) + columns // 8
    tl.store(
        activated_ptr + positions.to(tl.int64)[None, :] * inter_size + places[:, None],
        _to_bf16(activated, interpreted),
        mask=is_column[:, None] & is_position[None, :],
    )


@triton.jit
def down_kernel(
    activated_ptr,  # [num_positions, 8, inter_size // 8] bf16, by nibble
    w2_ptr,  # [num_experts, hidden_size, inter_size // 8] int32
    w2_scale_ptr,  # [num_experts, hidden_size, inter_size // 32] bf16
    output_ptr,  # [num_pairs, hidden_size] bf16, written
    weight_ptr,  # [num_pairs] float32; not read without has_pairs
    pair_ptr,
    block_expert_ptr,
    block_first_ptr,
    block_end_ptr,
    hidden_size: tl.constexpr,
    inter_size: tl.constexpr,
    has_pairs: tl.constexpr,
    interpreted: tl.constexpr,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    block_words: tl.constexpr,
):
    """output[pair] = weight[pair] * (w_down activated); without pairs a position, unweighted."""
    num_words: tl.constexpr = inter_size // 8
    num_tiles: tl.constexpr = (hidden_size + block_n - 1) // block_n
    block = tl.program_id(0) // num_tiles
    expert = tl.load(block_expert_ptr + block).to(tl.int64)
    if expert < 0:
        return
    positions = (tl.load(block_first_ptr + block) + tl.arange(0, block_m)).to(tl.int64)
    is_position = positions < tl.load(block_end_ptr + block)
    columns = (tl.program_id(0) % num_tiles) * block_n + tl.arange(0, block_n)
    is_column = columns < hidden_size
    rows = (expert * hidden_size + columns)[:, None]
    total = tl.zeros([block_n, block_m], dtype=tl.float32)
    for first in range(0, num_words, block_words):
        words = first + tl.arange(0, block_words)[None, :]
        is_word = words < num_words
        mask = is_column[:, None] & is_word
        packed = tl.load(w2_ptr + rows * num_words + words, mask=mask, other=0)
        scales = w2_scale_ptr + rows * (num_words // 4) + words // 4
        scale = tl.load(scales, mask=mask, other=0.0).to(tl.float32)
        for nibble in tl.static_range(8):
            x_words = activated_ptr + positions[:, None] * inter_size + nibble * num_words + words
            x = tl.load(x_words, mask=is_position[:, None] & is_word, other=0.0)
            total = _product(total, packed, scale, x, nibble, interpreted)
    pairs = positions
    if has_pairs:
        pairs = tl.load(pair_ptr + positions, mask=is_position, other=0).to(tl.int64)
        total *= tl.load(weight_ptr + pairs, mask=is_position, other=0.0)[None, :]
    tl.store(
        output_ptr + pairs[None, :] * hidden_size + columns[:, None],
        _to_bf16(total, interpreted),
        mask=is_column[:, None] & is_position[None, :],
    )


@triton.jit
def sum_slots_kernel(
    output_ptr,  # [num_tokens, num_slots, hidden_size] bf16; slots of no local expert are unwritten
    ids_ptr,  # [num_tokens, num_slots]
    sum_ptr,  # [num_tokens, hidden_size] bf16, written
    num_experts,
    num_slots: tl.constexpr,
    hidden_size: tl.constexpr,
    interpreted: tl.constexpr,
    block_n: tl.constexpr,
):
    """sum[token] = sum over the slots with a local expert, in float32, slot after slot."""
    token = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * block_n + tl.arange(0, block_n)
    is_column = columns < hidden_size
    total = tl.zeros([block_n], dtype=tl.float32)
    for slot in range(num_slots):
        pair = token * num_slots + slot
        expert = tl.load(ids_ptr + pair)
        is_local = (expert >= 0) & (expert < num_experts)
        part = tl.load(
            output_ptr + pair * hidden_size + columns, mask=is_column & is_local, other=0.0
        )
        total += part.to(tl.float32)
    total = _to_bf16(total, interpreted)
    tl.store(sum_ptr + token * hidden_size + columns, total, mask=is_column)
