"""An independent float32 reference of Kimi's text model, straight from the formulas.

Written from the specification alone: imports nothing of this project and nothing of transformers,
decodes the checkpoint by its own code, keeps no cache and absorbs nothing. One sequence at a time,
every position computed in full; slow and plain on purpose.

Source of the graph: DeepSeek-V2 and -V3 reports (MLA; sigmoid router with a bias for the choice
only); of the yarn formulas: the YaRN paper with DeepSeek's two mscale values.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

PREFIX = "language_model."
GROUP_SIZE = 32


class KimiReference:
    """The text model of a checkpoint folder, in float32 on the CPU."""

    def __init__(self, checkpoint_dir: str | Path) -> None:
        """Read all text tensors; only a mini checkpoint fits."""
        folder = Path(checkpoint_dir)
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())[
            "text_config"
        ]
        self.tensors = read_text_tensors(folder)

    @torch.no_grad()
    def logits(self, token_ids: Sequence[int]) -> Tensor:
        """Return [num_tokens, vocab_size] float32: what follows each prefix."""
        config = self.config
        x = self.tensors["model.embed_tokens.weight"][torch.tensor(token_ids)]
        angles = rope_angles(config, len(token_ids))
        for layer_id in range(config["num_hidden_layers"]):
            layer = f"model.layers.{layer_id}."
            x = x + self.attention(layer, self.norm(layer + "input_layernorm", x), angles)
            normed = self.norm(layer + "post_attention_layernorm", x)
            if layer_id >= config["first_k_dense_replace"]:
                x = x + self.experts(layer + "mlp.", normed)
            else:
                x = x + self.mlp(layer + "mlp.", normed)
        return self.norm("model.norm", x) @ self.tensors["lm_head.weight"].T

    def norm(self, name: str, x: Tensor) -> Tensor:
        """Divide by the root mean square of the last dimension, times a weight.

        The two norms inside attention take rms_norm_eps as well, as SGLang and vLLM have it;
        transformers' DeepseekV3 leaves these two at 1e-6.
        """
        mean_square = x.square().mean(dim=-1, keepdim=True)
        weight = self.tensors[name + ".weight"]
        return x / torch.sqrt(mean_square + self.config["rms_norm_eps"]) * weight

    def linear(self, name: str, x: Tensor) -> Tensor:
        """Multiply by a stored [outputs, inputs] matrix."""
        return x @ self.tensors[name + ".weight"].T

    def attention(self, layer: str, x: Tensor, angles: Tensor) -> Tensor:
        """Multi-head latent attention with the latent expanded to keys and values per head."""
        config, prefix = self.config, layer + "self_attn."
        num_heads = config["num_attention_heads"]
        nope, rope = config["qk_nope_head_dim"], config["qk_rope_head_dim"]
        latent_q = self.norm(prefix + "q_a_layernorm", self.linear(prefix + "q_a_proj", x))
        q = self.linear(prefix + "q_b_proj", latent_q).view(len(x), num_heads, nope + rope)
        both = self.linear(prefix + "kv_a_proj_with_mqa", x)
        latent, k_rope = both[:, : config["kv_lora_rank"]], both[:, config["kv_lora_rank"] :]
        kv = self.linear(prefix + "kv_b_proj", self.norm(prefix + "kv_a_layernorm", latent))
        kv = kv.view(len(x), num_heads, nope + config["v_head_dim"])
        q_rope = rotate(q[..., nope:], angles.unsqueeze(1))
        k_rope = rotate(k_rope, angles)  # one for all heads
        scores = torch.einsum("qhd,khd->hqk", q[..., :nope], kv[..., :nope])
        scores = scores + torch.einsum("qhd,kd->hqk", q_rope, k_rope)
        future = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
        scores = (scores * softmax_scale(config)).masked_fill(future, -math.inf)
        out = torch.einsum("hqk,khd->qhd", scores.softmax(dim=-1), kv[..., nope:])
        return self.linear(prefix + "o_proj", out.reshape(len(x), -1))

    def mlp(self, prefix: str, x: Tensor) -> Tensor:
        """SwiGLU: down(silu(gate x) * up x)."""
        gate = self.linear(prefix + "gate_proj", x)
        hidden = gate * torch.sigmoid(gate) * self.linear(prefix + "up_proj", x)
        return self.linear(prefix + "down_proj", hidden)

    def experts(self, prefix: str, x: Tensor) -> Tensor:
        """Add the chosen experts, weighted, to the shared one; token by token."""
        config = self.config
        scores = torch.sigmoid(self.linear(prefix + "gate", x))
        biased = scores + self.tensors[prefix + "gate.e_score_correction_bias"]
        rows = []
        for token, token_scores, token_biased in zip(x, scores, biased, strict=True):
            chosen = token_biased.argsort(descending=True)[: config["num_experts_per_tok"]]
            weights = token_scores[chosen] / token_scores[chosen].sum()
            weights = weights * config["routed_scaling_factor"]
            row = torch.zeros_like(token)
            for expert_id, weight in zip(chosen.tolist(), weights, strict=True):
                row = row + weight * self.mlp(f"{prefix}experts.{expert_id}.", token)
            rows.append(row)
        return torch.stack(rows) + self.mlp(prefix + "shared_experts.", x)


def softmax_scale(config: dict[str, Any]) -> float:
    """Return m^2 / sqrt(head size): yarn sharpens the attention of long contexts."""
    scaling = config["rope_scaling"]
    mscale = yarn_mscale(scaling["factor"], scaling["mscale_all_dim"])
    head_dim = config["qk_nope_head_dim"] + config["qk_rope_head_dim"]
    scale: float = mscale**2 / math.sqrt(head_dim)
    return scale


def yarn_mscale(factor: float, mscale: float) -> float:
    """Return m = 0.1 mscale ln(factor) + 1."""
    return 0.1 * mscale * math.log(factor) + 1.0


def yarn_ramp_bounds(config: dict[str, Any]) -> tuple[int, int]:
    """Return the frequency pairs between which yarn goes over from keeping to stretching.

    Pair i turns original_length * theta^(-2i/d) / (2 pi) times within the original context; the
    bounds are the pairs that turn beta_fast and beta_slow times, rounded outwards.
    """
    scaling, theta, dim = config["rope_scaling"], config["rope_theta"], config["qk_rope_head_dim"]
    original = scaling["original_max_position_embeddings"]

    def pair_that_turns(times: float) -> float:
        return float(dim * math.log(original / (times * 2 * math.pi)) / (2 * math.log(theta)))

    low = math.floor(pair_that_turns(scaling["beta_fast"]))
    high = math.ceil(pair_that_turns(scaling["beta_slow"]))
    return max(low, 0), min(high, dim - 1)


def rope_frequencies(config: dict[str, Any]) -> Tensor:
    """Return [qk_rope_head_dim / 2] float64: radians a position, each pair."""
    dim = config["qk_rope_head_dim"]
    pairs = torch.arange(dim // 2, dtype=torch.float64)
    plain = config["rope_theta"] ** (-2 * pairs / dim)
    low, high = yarn_ramp_bounds(config)
    stretched_share = ((pairs - low) / (high - low)).clamp(0, 1)
    stretched = plain / config["rope_scaling"]["factor"]
    frequencies: Tensor = plain * (1 - stretched_share) + stretched * stretched_share
    return frequencies


def rope_angles(config: dict[str, Any], num_tokens: int) -> Tensor:
    """Return [num_tokens, qk_rope_head_dim / 2] float64 radians, positions from 0."""
    positions = torch.arange(num_tokens, dtype=torch.float64)
    return positions[:, None] * rope_frequencies(config)[None, :]


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn each pair of neighbours (2i, 2i + 1) of the last dimension by its angle.

    mscale equals mscale_all_dim in every Kimi checkpoint, so cosine and sine are not scaled.
    """
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = angles.cos().float(), angles.sin().float()
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2)


def read_text_tensors(folder: Path) -> dict[str, Tensor]:
    """Return float32 tensors without prefix; INT4 experts as `….weight`, expanded."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    stored: dict[str, Tensor] = {}
    for file_name in sorted(set(index["weight_map"].values())):
        with safe_open(str(folder / file_name), framework="pt") as shard:
            for name in shard.keys():  # noqa: SIM118 (not a dictionary)
                if name.startswith(PREFIX):
                    stored[name.removeprefix(PREFIX)] = shard.get_tensor(name)
    tensors: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        if name.endswith(".weight_packed"):
            stem = name.removesuffix("_packed")
            tensors[stem] = expand(tensor, stored[stem + "_scale"], stored[stem + "_shape"])
        elif not name.endswith((".weight_scale", ".weight_shape")):
            tensors[name] = tensor.float()
    return tensors


def expand(words: Tensor, scale: Tensor, shape: Tensor) -> Tensor:
    """Return (nibble - 8) * scale: eight nibbles a word, lowest first, a scale per 32 inputs."""
    num_rows, num_inputs = shape.tolist()
    unsigned = words.long() & 0xFFFFFFFF
    nibbles = torch.stack([unsigned // 16**position % 16 for position in range(8)], dim=-1)
    values = nibbles.reshape(num_rows, num_inputs).float() - 8.0
    columns = torch.arange(num_inputs) // GROUP_SIZE
    return values * scale.float()[:, columns]
