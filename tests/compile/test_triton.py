"""Our Triton kernels compile to machine code for Hopper and Blackwell, with no GPU in the machine.

At the release's shape (7168 x 2048) with the tile sizes that such a GPU gets where none were tuned.
"""

from dataclasses import asdict

import pytest
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sglang_kimi.kernels.moe.int4_configs import default_config
from sglang_kimi.kernels.moe.int4_triton import SUM_BLOCK
from sglang_kimi.kernels.moe.int4_triton_kernels import (
    down_kernel,
    gate_up_kernel,
    sum_slots_kernel,
)

HIDDEN, INTER, TOP_K = 7168, 2048, 8
CAPABILITIES = [(9, 0), (10, 0)]
POINTERS = {
    "x_ptr": "*bf16",
    "w13_ptr": "*i32",
    "w13_scale_ptr": "*bf16",
    "w2_ptr": "*i32",
    "w2_scale_ptr": "*bf16",
    "activated_ptr": "*bf16",
    "output_ptr": "*bf16",
    "sum_ptr": "*bf16",
    "weight_ptr": "*fp32",
    "pair_ptr": "*i32",
    "block_expert_ptr": "*i32",
    "block_first_ptr": "*i32",
    "block_end_ptr": "*i32",
    "ids_ptr": "*i64",
    "num_experts": "i32",
}
COMMON = {
    "num_slots": TOP_K,
    "hidden_size": HIDDEN,
    "inter_size": INTER,
    "has_pairs": True,
    "interpreted": False,
}


def compiled(kernel, capability, constants, **options):
    """Return the PTX and the size of the machine code of a kernel."""
    constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
    signature = {name: POINTERS.get(name, "constexpr") for name in kernel.arg_names}
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(kernel.arg_names)
        if signature[name].startswith("*")
    }
    source = ASTSource(kernel, signature=signature, constexprs=constants, attrs=aligned)
    target = GPUTarget("cuda", capability[0] * 10 + capability[1], 32)
    result = triton.compile(source, target=target, options=options)
    return result.asm["ptx"], len(result.asm["cubin"])


@pytest.mark.parametrize("capability", CAPABILITIES, ids=["sm_90a", "sm_100a"])
@pytest.mark.parametrize("rows_per_expert", [1, 64], ids=["decode", "prefill"])
@pytest.mark.parametrize("kernel", [gate_up_kernel, down_kernel], ids=["gate_up", "down"])
def test_the_products_of_the_experts_compile(kernel, capability, rows_per_expert):
    config = default_config(rows_per_expert, capability)
    tile = asdict(config.gate_up if kernel is gate_up_kernel else config.down)
    options = {name: tile.pop(name) for name in ("num_warps", "num_stages")}
    ptx, num_bytes = compiled(
        kernel, capability, {**COMMON, **tile, "block_m": config.block_m}, **options
    )
    assert num_bytes > 0
    assert "trap;" not in ptx  # what Triton writes where its tiles do not fit the tensor memory
    assert "mma" in ptx  # by tensor cores, whatever they are called there


@pytest.mark.parametrize("capability", CAPABILITIES, ids=["sm_90a", "sm_100a"])
def test_the_sum_over_the_slots_compiles(capability):
    ptx, num_bytes = compiled(sum_slots_kernel, capability, {**COMMON, "block_n": SUM_BLOCK})
    assert num_bytes > 0
    assert "trap;" not in ptx
