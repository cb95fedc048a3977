"""INT4 experts between DeepEP's dispatch and its combine.

Normal mode hands over each received token once, with this rank's local expert numbers (-1 =
elsewhere), and wants the weighted sum of this rank's experts for each of them. Low latency hands
over a table of rows for each expert, and wants the experts' outputs in the same places: the combine
weights them at the tokens' home.

Expert numbers are physical ones: a redundant copy of an expert is an expert of its own here, with
its own weights in `Int4Experts`. Never run on a GPU; a double of the dispatcher checks layouts.
"""

from __future__ import annotations

from typing import Any, Final

from sglang_kimi.kernels.moe.int4 import AnyInt4Experts, moe_int4
from sglang_kimi.kernels.moe.int4_masked import moe_int4_masked

from ..seams import require

BF16_DISPATCH: Final = {"dispatcher_output_dtype": "bf16"}
"""What a dispatcher is configured with: by default it would quantise the tokens to fp8."""


def configure_deepep(dispatcher: Any) -> None:
    """Tell a layer's DeepEP dispatcher to send bf16; called once, when the layer is loaded.

    Raises RuntimeError where normal mode would fail at its first combine.
    """
    if require("deepep_mode")().enable_normal() and not require("deep_gemm"):
        raise RuntimeError(
            "--moe-a2a-backend deepep: SGLang's combine of normal mode runs only where deep_gemm "
            "is installed and enabled (SGLANG_ENABLE_JIT_DEEPGEMM); install it, or serve with "
            "--deepep-mode low_latency"
        )
    dispatcher.set_quant_config(BF16_DISPATCH)


def run_deepep(dispatch_output: Any, experts: AnyInt4Experts) -> Any:
    """Apply this rank's experts to what DeepEP brought; return what its combine takes.

    Raises ValueError for tokens that were not sent as bf16, or for another dispatcher's format.
    """
    if dispatch_output.hidden_states_scale is not None:
        raise ValueError(
            f"hidden_states: want bf16 without scales, got {dispatch_output.hidden_states.dtype} "
            "with scales; leave --deepep-dispatcher-output-dtype at auto, or say bf16"
        )
    if dispatch_output.format.is_deepep_normal():
        return _run_normal(dispatch_output, experts)
    if dispatch_output.format.is_deepep_ll():
        return _run_low_latency(dispatch_output, experts)
    raise ValueError(f"dispatch_output: want DeepEP's, got {dispatch_output.format}")


def _run_normal(received: Any, experts: AnyInt4Experts) -> Any:
    output = moe_int4(
        received.hidden_states, experts, received.topk_ids, received.topk_weights.float()
    )
    return require("deepep_normal_input")(
        hidden_states=output, topk_ids=received.topk_ids, topk_weights=received.topk_weights
    )


def _run_low_latency(received: Any, experts: AnyInt4Experts) -> Any:
    output = moe_int4_masked(
        received.hidden_states, experts, received.masked_m, received.expected_m
    )
    return require("deepep_low_latency_input")(
        hidden_states=output, topk_ids=received.topk_ids, topk_weights=received.topk_weights
    )
