"""INT4 routed experts in plain torch: the truth that every faster backend is compared with.

y = sum over slots j of topk_weights[j] * W2 (silu(Wgate x) * (Wup x)), in float32 throughout.
Any device. Expands the chosen experts' weights to float32 and throws them away again, either for
all (token, slot) pairs at once, if that is little, or one expert at a time.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import silu

from .int4_experts import Int4Experts
from .int4_format import NIBBLES_PER_WORD, dequantize_int4

# Up to this many weights of all pairs together are expanded at once (4 MiB of float32): a decode
# step of a small model takes one pass instead of one per expert. Beyond it, experts that several
# tokens share would be expanded several times. A true-size expert has 44 M.
MAX_GATHERED_WEIGHTS: Final = 1 << 20


def ref_moe_int4(x: Tensor, experts: Int4Experts, topk_ids: Tensor, topk_weights: Tensor) -> Tensor:
    """Compute `moe_int4`; the same arguments, result and errors."""
    weights_per_expert = NIBBLES_PER_WORD * (experts.w13[:1].numel() + experts.w2[:1].numel())
    if topk_ids.numel() * weights_per_expert <= MAX_GATHERED_WEIGHTS:
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
    x: Tensor, experts: Int4Experts, topk_ids: Tensor, topk_weights: Tensor
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
        w13 = dequantize_int4(experts.w13[expert_id], experts.w13_scale[expert_id])
        gate, up = (x[token_ids] @ w13.T).chunk(2, dim=-1)
        del w13  # at most one expert's matrix at a time
        w2 = dequantize_int4(experts.w2[expert_id], experts.w2_scale[expert_id])
        outputs = (silu(gate) * up) @ w2.T  # [num_pairs_of_expert, hidden_size]
        weights = topk_weights[token_ids, slots].float().unsqueeze(-1)
        out.index_add_(0, token_ids, outputs * weights)
    return out
