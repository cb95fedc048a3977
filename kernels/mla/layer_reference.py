"""One layer's absorbed MLA in plain torch, and its weights.

Source: DeepSeek-V2 report, section 2.1; rope in pairs of neighbours as in the release's code.
"""

import torch
from torch import Tensor

from ..linear.bf16_reference import ref_bf16_bmm, ref_bf16_linear
from ..norm.rms_norm import ref_rms_norm
from .absorbed_reference import ref_mla_absorbed_batch
from .layer_step import MlaStep
from .layer_weights import MlaWeights
from .rotary import rotate, rotations_at


def ref_mla_layer(latents: Tensor, weights: MlaWeights, step: MlaStep, kv_cache: Tensor) -> Tensor:
    """Compute `layer.mla_layer` in plain torch; the same arguments and result."""
    heads, nope, rank = weights.w_kc.shape
    q_rank = weights.q_norm.shape[0]
    q_lora = ref_rms_norm(latents[:, :q_rank], weights.q_norm, weights.eps)[0]
    query = ref_bf16_linear(q_lora, weights.q_b).view(-1, heads, nope + weights.rope_dim)
    q_nope, q_pe = query[..., :nope], query[..., nope:]
    k_nope, k_pe = latents[:, q_rank : q_rank + rank], latents[:, None, q_rank + rank :]
    rotations = rotations_at(step.positions, step.cos_sin_cache)
    k_nope = ref_rms_norm(k_nope, weights.kv_norm, weights.eps)[0]
    keys = torch.cat([k_nope, rotate(k_pe, rotations).squeeze(1)], dim=-1)
    kv_cache[step.new_slots] = keys.to(kv_cache.dtype)
    q_nope = ref_bf16_bmm(q_nope.transpose(0, 1), weights.w_kc).transpose(0, 1)
    query = torch.cat([q_nope, rotate(q_pe, rotations)], dim=-1)
    lens = step.query_lens
    num_tokens = step.seq_lens.shape[0] if lens is None else int(lens.sum())
    attended = ref_mla_absorbed_batch(
        query[:num_tokens],
        kv_cache,
        *step.lengths,
        scaling=weights.scaling,
        kv_lora_rank=rank,
    )
    values = ref_bf16_bmm(attended.transpose(0, 1), weights.w_vc).transpose(0, 1)
    output = ref_bf16_linear(values.flatten(1), weights.o)
    return torch.nn.functional.pad(output, (0, 0, 0, latents.shape[0] - num_tokens))
