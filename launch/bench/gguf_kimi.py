"""Turn a Kimi checkpoint's language model into a GGUF file that llama.cpp and its kin run.

Architecture `deepseek2` with absorbed MLA. No weight changes its value: INT4 experts become Q4_0
blocks (the same codes; the bf16 scale as float16, refused where that is not the same number), the
rest stays bf16, norms and router are widened to float32. Vision and vocabulary are left out.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from sglang_kimi.checkpoint import GROUP_SIZE, TEXT_PREFIX, is_moe_layer

from .gguf_file import GgufTensor, Value, write_gguf

_ARCHITECTURE: Final = "deepseek2"
_SIGMOID: Final = 2
_MOSTLY_Q4_0: Final = 2
_INDEX_FILE: Final = "model.safetensors.index.json"

Read = Callable[[str], Tensor]


class ConversionError(ValueError):
    """The checkpoint holds what GGUF cannot express; the message names the tensor."""


def convert_to_gguf(checkpoint: Path, target: Path, *, is_exact: bool = False) -> None:
    """Write `target` from a checkpoint's folder. The whole model is held in memory once.

    is_exact: every weight as float32, experts too: engines of this family round the activations
    that meet other types, to 8 bits for Q4_0, so that their greedy tokens soon differ.
    Raises ConversionError, and what a missing file or tensor raises.
    """
    config = json.loads((checkpoint / "config.json").read_text())["text_config"]
    with ExitStack() as stack:
        read = _reader(checkpoint, stack)
        tensors = dict(_tensors(config, read))
        if is_exact:
            tensors = {name: _widened(tensor) for name, tensor in tensors.items()}
        write_gguf(target, _pairs(config), tensors)


def _reader(checkpoint: Path, stack: ExitStack) -> Read:
    from safetensors import safe_open

    shards: dict[str, str] = json.loads((checkpoint / _INDEX_FILE).read_text())["weight_map"]
    files = {
        name: stack.enter_context(safe_open(str(checkpoint / name), framework="pt"))
        for name in set(shards.values())
    }

    def read(name: str) -> Tensor:
        tensor: Tensor = files[shards[TEXT_PREFIX + name]].get_tensor(TEXT_PREFIX + name)
        return tensor

    return read


def _pairs(config: Mapping[str, Any]) -> dict[str, Value]:
    rank, rope = config["kv_lora_rank"], config["qk_rope_head_dim"]
    yarn = config["rope_scaling"]
    pairs: dict[str, Value] = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "vocab_size": config["vocab_size"],
        "leading_dense_block_count": config["first_k_dense_replace"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": 1,
        "attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
        "attention.q_lora_rank": config["q_lora_rank"],
        "attention.kv_lora_rank": rank,
        "attention.key_length": rank + rope,
        "attention.value_length": rank,
        "attention.key_length_mla": config["qk_nope_head_dim"] + rope,
        "attention.value_length_mla": config["v_head_dim"],
        "expert_feed_forward_length": config["moe_intermediate_size"],
        "expert_count": config["n_routed_experts"],
        "expert_used_count": config["num_experts_per_tok"],
        "expert_shared_count": config["n_shared_experts"],
        "expert_weights_scale": float(config["routed_scaling_factor"]),
        "expert_weights_norm": bool(config["norm_topk_prob"]),
        "expert_gating_func": _SIGMOID,
        "rope.dimension_count": rope,
        "rope.freq_base": float(config["rope_theta"]),
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": float(yarn["factor"]),
        "rope.scaling.original_context_length": yarn["original_max_position_embeddings"],
        "rope.scaling.yarn_log_multiplier": 0.1 * yarn["mscale_all_dim"],
    }
    return {
        "general.architecture": _ARCHITECTURE,
        "general.file_type": _MOSTLY_Q4_0,
        "tokenizer.ggml.model": "no_vocab",
        **{f"{_ARCHITECTURE}.{key}": value for key, value in pairs.items()},
    }


def _tensors(config: Mapping[str, Any], read: Read) -> Iterator[tuple[str, GgufTensor]]:
    yield "token_embd.weight", _bf16(read("model.embed_tokens.weight"))
    yield "output.weight", _bf16(read("lm_head.weight"))
    yield "output_norm.weight", _float32(read("model.norm.weight"))
    for layer_id in range(config["num_hidden_layers"]):

        def read_here(name: str, layer_id: int = layer_id) -> Tensor:
            return read(f"model.layers.{layer_id}.{name}")

        parts = [_attention(config, read_here)]
        parts.append(
            _moe(config, read_here) if is_moe_layer(config, layer_id) else _dense(read_here)
        )
        for part in parts:
            for name, tensor in part:
                yield f"blk.{layer_id}.{name}", tensor


def _attention(config: Mapping[str, Any], read: Read) -> Iterator[tuple[str, GgufTensor]]:
    yield "attn_norm.weight", _float32(read("input_layernorm.weight"))
    yield "ffn_norm.weight", _float32(read("post_attention_layernorm.weight"))
    yield "attn_q_a_norm.weight", _float32(read("self_attn.q_a_layernorm.weight"))
    yield "attn_kv_a_norm.weight", _float32(read("self_attn.kv_a_layernorm.weight"))
    yield "attn_q_a.weight", _bf16(read("self_attn.q_a_proj.weight"))
    yield "attn_q_b.weight", _bf16(read("self_attn.q_b_proj.weight"))
    yield "attn_kv_a_mqa.weight", _bf16(read("self_attn.kv_a_proj_with_mqa.weight"))
    yield "attn_output.weight", _bf16(read("self_attn.o_proj.weight"))
    sizes = [config["qk_nope_head_dim"], config["v_head_dim"]]
    per_head = read("self_attn.kv_b_proj.weight").view(-1, sum(sizes), config["kv_lora_rank"])
    keys, values = per_head[:, : sizes[0]], per_head[:, sizes[0] :]
    yield "attn_k_b.weight", _bf16(keys.transpose(1, 2))
    yield "attn_v_b.weight", _bf16(values)


def _dense(read: Read) -> Iterator[tuple[str, GgufTensor]]:
    for name in ("gate", "up", "down"):
        yield f"ffn_{name}.weight", _bf16(read(f"mlp.{name}_proj.weight"))


def _moe(config: Mapping[str, Any], read: Read) -> Iterator[tuple[str, GgufTensor]]:
    yield "ffn_gate_inp.weight", _float32(read("mlp.gate.weight"))
    yield "exp_probs_b.bias", _float32(read("mlp.gate.e_score_correction_bias"))
    for name in ("gate", "up", "down"):
        yield f"ffn_{name}_shexp.weight", _bf16(read(f"mlp.shared_experts.{name}_proj.weight"))
        experts = [
            f"mlp.experts.{expert}.{name}_proj" for expert in range(config["n_routed_experts"])
        ]
        rows, words = read(f"{experts[0]}.weight_packed").shape
        blocks = b"".join(_q4_0(read, expert) for expert in experts)
        shape = (len(experts), rows, words * 8)
        yield f"ffn_{name}_exps.weight", GgufTensor(shape, "Q4_0", blocks)


def _q4_0(read: Read, expert: str) -> bytes:
    """Return blocks of 32 weights: float16 scale, then code i beside code i + 16 in each byte."""
    words, scale = read(f"{expert}.weight_packed"), read(f"{expert}.weight_scale")
    halves = scale.to(torch.float16)
    if not torch.equal(halves.float(), scale.float()):
        raise ConversionError(f"{expert}.weight_scale: holds a number that float16 has not")
    codes = (words.unsqueeze(-1) >> torch.arange(0, 32, 4, dtype=torch.int32)) & 15
    codes = codes.view(words.shape[0], -1, GROUP_SIZE).to(torch.uint8)
    pairs = codes[..., : GROUP_SIZE // 2] | codes[..., GROUP_SIZE // 2 :] << 4
    stored: bytes = torch.cat([halves.unsqueeze(-1).view(torch.uint8), pairs], -1).numpy().tobytes()
    return stored


def _float32(tensor: Tensor) -> GgufTensor:
    return GgufTensor(tuple(tensor.shape), "F32", tensor.float().numpy().tobytes())


def _bf16(tensor: Tensor) -> GgufTensor:
    stored = tensor.to(torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes()
    return GgufTensor(tuple(tensor.shape), "BF16", stored)


def _widened(tensor: GgufTensor) -> GgufTensor:
    """Return the same numbers as float32."""
    if tensor.type == "F32":
        return tensor
    stored = torch.frombuffer(bytearray(tensor.data), dtype=torch.uint8)
    if tensor.type == "BF16":
        return _float32(stored.view(torch.bfloat16).view(tensor.shape))
    blocks = stored.view(-1, 2 + GROUP_SIZE // 2)
    scale, pairs = blocks[:, :2].contiguous().view(torch.float16).float(), blocks[:, 2:]
    codes = torch.cat([pairs & 15, pairs >> 4], dim=-1).float() - 8
    return _float32((scale * codes).view(tensor.shape))
