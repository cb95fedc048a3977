"""INT4 routed experts in plain torch: the truth that every faster backend is compared with.

y = sum over slots j of topk_weights[j] * W2 (silu(Wgate x) * (Wup x)), in float32 throughout.
Any device. Expands the chosen experts' weights to float32 and throws them away again, either for
all (token, slot) pairs at once, if that is little, or one expert at a time.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import silu

from .int4_experts import AnyInt4Experts, Int4Experts
from .int4_format import dequantize_int4

# Up to this many weights of all pairs together are expanded at once (4 MiB of float32): a decode
# step of a small model takes one pass instead of one per expert. Beyond it, experts that several
# tokens share would be expanded several times. A true-size expert has 44 M.
MAX_GATHERED_WEIGHTS: Final = 1 << 20


def ref_moe_int4(
    x: Tensor, experts: AnyInt4Experts, topk_ids: Tensor, topk_weights: Tensor
) -> Tensor:
    """Compute `moe_int4`; the same arguments, result and errors."""
    weights_per_expert = 3 * experts.hidden_size * experts.moe_intermediate_size
    is_little = topk_ids.numel() * weights_per_expert <= MAX_GATHERED_WEIGHTS
    if is_little and isinstance(experts, Int4Experts):
        out = _run_all_pairs(x.float(), experts, topk_ids, topk_weights)
    else:
        out = _run_expert_by_expert(x.float(), experts, topk_ids, topk_weights)
    return out.to(x.dtype)


def _run_all_pairs(
    x: Tensor, experts: Int4Experts, topk_ids: Tensor, topk_weights: Tensor
) -> Tensor:
    num_tokens, top_k = topk_ids.shape
    is_local = topk_ids >= 0
    expert_of_pair = topk_ids.clamp(min=0).flatten().long()
    w13 = dequantize_int4(experts.w13[expert_of_pair], experts.w13_scale[expert_of_pair])
    # Tokens as rows: torch's batched product with a column on the right is ten times slower.
    pairs = x.repeat_interleave(top_k, dim=0).unsqueeze(1)  # [num_pairs, 1, hidden_size]
    gate, up = torch.bmm(pairs, w13.mT).chunk(2, dim=-1)
    w2 = dequantize_int4(experts.w2[expert_of_pair], experts.w2_scale[expert_of_pair])
    outputs = torch.bmm(silu(gate) * up, w2.mT).view(num_tokens, top_k, experts.hidden_size)
    # Masked twice: a slot on another rank computed expert 0, whose inf * 0 would be nan.
    outputs = outputs.masked_fill(~is_local.unsqueeze(-1), 0.0)
    weights = topk_weights.float().masked_fill(~is_local, 0.0)
    return (outputs * weights.unsqueeze(-1)).sum(dim=1)


def _run_expert_by_expert(
    x: Tensor, experts: AnyInt4Experts, topk_ids: Tensor, topk_weights: Tensor
) -> Tensor:
    if x.is_cuda and torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            "INT4 experts: plain torch asks the device which experts are used, which a CUDA graph "
            "cannot record; start the server with --disable-cuda-graph"
        )
    out = torch.zeros_like(x)
    for expert_id in sorted(set(topk_ids.flatten().tolist())):
        if expert_id < 0:
            continue
        token_ids, slots = (topk_ids == expert_id).nonzero(as_tuple=True)
        expert, tokens = experts.one(expert_id), x[token_ids]
        gate = tokens @ dequantize_int4(expert.gate, expert.gate_scale).T
        up = tokens @ dequantize_int4(expert.up, expert.up_scale).T
        down = dequantize_int4(expert.down, expert.down_scale)
        outputs = (silu(gate) * up) @ down.T  # [num_pairs_of_expert, hidden_size]
        weights = topk_weights[token_ids, slots].float().unsqueeze(-1)
        out.index_add_(0, token_ids, outputs * weights)
    return out
