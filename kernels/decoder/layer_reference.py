"""A decoder layer in plain torch.

Source: DeepSeek-V3 report, section 2.1; norms and residual stream as in the release's code.
"""

from torch import Tensor

from ..linear.bf16_reference import ref_bf16_linear, ref_bf16_mlp
from ..mla.layer_reference import ref_mla_layer
from ..mla.layer_step import MlaStep
from ..moe.int4_reference import ref_moe_int4
from ..moe.sigmoid_routing import ref_route_by_sigmoid
from ..norm.rms_norm import ref_rms_norm
from .weights import DecoderWeights, MoeWeights


def ref_decoder_layer(
    hidden_states: Tensor,
    residual: Tensor,
    weights: DecoderWeights,
    step: MlaStep,
    kv_cache: Tensor,
) -> None:
    """Compute `layer.decoder_layer`; the same arguments."""
    normed, total = ref_rms_norm(hidden_states, weights.attention_norm, weights.eps, residual)
    attended = ref_mla_layer(ref_bf16_linear(normed, weights.qkv_a), weights.mla, step, kv_cache)
    normed, total = ref_rms_norm(attended, weights.mlp_norm, weights.eps, total)
    residual.copy_(total)
    hidden_states.copy_(ref_bf16_mlp(normed, weights.gate_up, weights.down))
    if weights.moe is not None:
        hidden_states += _experts_sum(normed, weights.moe)


def _experts_sum(x: Tensor, moe: MoeWeights) -> Tensor:
    logits = ref_bf16_linear(x, moe.router)
    chosen = ref_route_by_sigmoid(logits, moe.correction_bias, moe.top_k, moe.renormalize)
    return ref_moe_int4(x, moe.experts, chosen[1], chosen[0] * moe.scaling)
