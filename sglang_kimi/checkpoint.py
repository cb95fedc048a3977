"""Name every tensor of a Kimi-K2.5/K2.6/K2.7 checkpoint, with its shape and storage type.

The table of FORMAT section 1.3 as a function of config.json, so that the loader and the writer of
mini checkpoints cannot disagree. Knows names and sizes only: no torch, no file, no sharding.

Names are given relative to a module by the small functions (`attention_tensors`, `expert_tensors`
…) and absolute, with the `language_model.` prefix, by `text_tensors` and `checkpoint_tensors`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final, Literal

ARCHITECTURE: Final = "KimiK25ForConditionalGeneration"  # of K2.5, K2.6 and K2.7-Code alike
TEXT_PREFIX: Final = "language_model."
VISION_PREFIXES: Final = ("vision_tower.", "mm_projector.")
GROUP_SIZE: Final = 32  # inputs that share one scale; the only size a Kimi checkpoint has
NIBBLES_PER_WORD: Final = 8
EXPERT_PROJECTIONS: Final = ("gate_proj", "up_proj", "down_proj")

StorageType = Literal["BF16", "I32", "F32"]
BYTES_PER_ELEMENT: Final[Mapping[str, int]] = {"BF16": 2, "I32": 4, "F32": 4}

Table = dict[str, "TensorSpec"]


class CheckpointError(ValueError):
    """A checkpoint's files do not hold what its config calls for: copy or convert it again."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape and safetensors storage type of one tensor."""

    shape: tuple[int, ...]
    dtype: StorageType = "BF16"

    @property
    def num_elements(self) -> int:
        """Return the number of stored elements."""
        return prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Return the number of stored bytes."""
        return self.num_elements * BYTES_PER_ELEMENT[self.dtype]


def is_vision_tensor(name: str) -> bool:
    """Tell whether a tensor belongs to the vision tower or its projector."""
    return name.startswith(VISION_PREFIXES)


def is_moe_layer(text_config: Mapping[str, Any], layer_id: int) -> bool:
    """Tell whether a decoder layer has routed experts (otherwise a dense MLP)."""
    is_past_dense = layer_id >= _size(text_config, "first_k_dense_replace", minimum=0)
    return is_past_dense and layer_id % _size(text_config, "moe_layer_freq") == 0


def num_parameters(tensors: Mapping[str, TensorSpec]) -> int:
    """Count the weights that a table describes: eight a packed word, none for scales and shapes."""
    total = 0
    for name, spec in tensors.items():
        if name.endswith(".weight_packed"):
            total += spec.num_elements * NIBBLES_PER_WORD
        elif not name.endswith((".weight_scale", ".weight_shape")):
            total += spec.num_elements
    return total


def checkpoint_tensors(config: Mapping[str, Any]) -> Table:
    """Return every tensor of a checkpoint, text and vision, by its absolute name.

    config: config.json as a dictionary with `text_config` and `vision_config`.
    Raises ValueError naming the key that is missing or has no usable value.
    """
    text_config = _section(config, "text_config")
    vision_config = _section(config, "vision_config")
    return {**text_tensors(text_config), **vision_tensors(vision_config)}


def text_tensors(text_config: Mapping[str, Any]) -> Table:
    """Return the language model's tensors by absolute name.

    Raises ValueError for a missing key, a size that is no positive integer, an expert dimension
    that is no multiple of the group size, and for what no Kimi checkpoint has: tied embeddings and
    next-token-prediction layers.
    """
    _refuse_what_has_no_table(text_config)
    hidden_size = _size(text_config, "hidden_size")
    vocabulary = TensorSpec((_size(text_config, "vocab_size"), hidden_size))
    table: Table = {
        f"{TEXT_PREFIX}model.embed_tokens.weight": vocabulary,
        f"{TEXT_PREFIX}model.norm.weight": TensorSpec((hidden_size,)),
        f"{TEXT_PREFIX}lm_head.weight": vocabulary,
    }
    for layer_id in range(_size(text_config, "num_hidden_layers")):
        table |= layer_tensors(text_config, layer_id)
    return table


def layer_tensors(text_config: Mapping[str, Any], layer_id: int) -> Table:
    """Return one decoder layer's tensors by absolute name."""
    norm = TensorSpec((_size(text_config, "hidden_size"),))
    layer: Table = {"input_layernorm.weight": norm, "post_attention_layernorm.weight": norm}
    layer |= _under("self_attn.", attention_tensors(text_config))
    if is_moe_layer(text_config, layer_id):
        layer |= _under("mlp.", moe_tensors(text_config))
    else:
        layer |= _under("mlp.", mlp_tensors(text_config, _size(text_config, "intermediate_size")))
    return _under(f"{TEXT_PREFIX}model.layers.{layer_id}.", layer)


def attention_tensors(text_config: Mapping[str, Any]) -> Table:
    """Return one MLA block's tensors, named relative to `self_attn.`."""
    hidden_size = _size(text_config, "hidden_size")
    num_heads = _size(text_config, "num_attention_heads")
    q_lora_rank = _size(text_config, "q_lora_rank")
    kv_lora_rank = _size(text_config, "kv_lora_rank")
    nope, rope = _size(text_config, "qk_nope_head_dim"), _size(text_config, "qk_rope_head_dim")
    v_head_dim = _size(text_config, "v_head_dim")
    return {
        "q_a_proj.weight": TensorSpec((q_lora_rank, hidden_size)),
        "q_a_layernorm.weight": TensorSpec((q_lora_rank,)),
        "q_b_proj.weight": TensorSpec((num_heads * (nope + rope), q_lora_rank)),
        "kv_a_proj_with_mqa.weight": TensorSpec((kv_lora_rank + rope, hidden_size)),
        "kv_a_layernorm.weight": TensorSpec((kv_lora_rank,)),
        "kv_b_proj.weight": TensorSpec((num_heads * (nope + v_head_dim), kv_lora_rank)),
        "o_proj.weight": TensorSpec((hidden_size, num_heads * v_head_dim)),
    }


def mlp_tensors(text_config: Mapping[str, Any], intermediate_size: int) -> Table:
    """Return a 16-bit SwiGLU block's tensors, named relative to it."""
    hidden_size = _size(text_config, "hidden_size")
    return {
        "gate_proj.weight": TensorSpec((intermediate_size, hidden_size)),
        "up_proj.weight": TensorSpec((intermediate_size, hidden_size)),
        "down_proj.weight": TensorSpec((hidden_size, intermediate_size)),
    }


def moe_tensors(text_config: Mapping[str, Any]) -> Table:
    """Return router, shared and routed experts of one layer, named relative to `mlp.`."""
    num_experts = _size(text_config, "n_routed_experts")
    intermediate_size = _size(text_config, "moe_intermediate_size")
    shared_size = intermediate_size * _size(text_config, "n_shared_experts")
    table: Table = {
        "gate.weight": TensorSpec((num_experts, _size(text_config, "hidden_size"))),
        "gate.e_score_correction_bias": TensorSpec((num_experts,), "F32"),
    }
    table |= _under("shared_experts.", mlp_tensors(text_config, shared_size))
    expert = expert_tensors(text_config)
    for expert_id in range(num_experts):
        table |= _under(f"experts.{expert_id}.", expert)
    return table


def expert_tensors(text_config: Mapping[str, Any]) -> Table:
    """Return one routed expert's INT4 tensors, named relative to `experts.E.`."""
    hidden_size = _group_multiple(text_config, "hidden_size")
    intermediate_size = _group_multiple(text_config, "moe_intermediate_size")
    table: Table = {}
    for projection in EXPERT_PROJECTIONS:
        num_rows, num_inputs = intermediate_size, hidden_size
        if projection == "down_proj":
            num_rows, num_inputs = hidden_size, intermediate_size
        packed = (num_rows, num_inputs // NIBBLES_PER_WORD)
        table[f"{projection}.weight_packed"] = TensorSpec(packed, "I32")
        table[f"{projection}.weight_scale"] = TensorSpec((num_rows, num_inputs // GROUP_SIZE))
        table[f"{projection}.weight_shape"] = TensorSpec((2,), "I32")
    return table


def vision_tensors(vision_config: Mapping[str, Any]) -> Table:
    """Return the vision tower's and the projector's tensors by absolute name."""
    hidden_size = _size(vision_config, "vt_hidden_size")
    patch_size = _size(vision_config, "patch_size")
    height = _size(vision_config, "init_pos_emb_height")
    width = _size(vision_config, "init_pos_emb_width")
    patch_embed = "vision_tower.patch_embed."
    table: Table = {
        f"{patch_embed}proj.weight": TensorSpec((hidden_size, 3, patch_size, patch_size)),
        f"{patch_embed}proj.bias": TensorSpec((hidden_size,)),
        f"{patch_embed}pos_emb.weight": TensorSpec((height, width, hidden_size)),
    }
    block = _vision_block_tensors(vision_config)
    for block_id in range(_size(vision_config, "vt_num_hidden_layers")):
        table |= _under(f"vision_tower.encoder.blocks.{block_id}.", block)
    table |= _with_bias("vision_tower.encoder.final_layernorm", hidden_size)
    return table | _projector_tensors(vision_config)


def _vision_block_tensors(vision_config: Mapping[str, Any]) -> Table:
    hidden_size = _size(vision_config, "vt_hidden_size")
    intermediate_size = _size(vision_config, "vt_intermediate_size")
    return {
        **_with_bias("norm0", hidden_size),
        **_with_bias("norm1", hidden_size),
        **_with_bias("wqkv", 3 * hidden_size, hidden_size),
        **_with_bias("wo", hidden_size, hidden_size),
        **_with_bias("mlp.fc0", intermediate_size, hidden_size),
        **_with_bias("mlp.fc1", hidden_size, intermediate_size),
    }


def _projector_tensors(vision_config: Mapping[str, Any]) -> Table:
    hidden_size = _size(vision_config, "mm_hidden_size")
    merged_size = hidden_size * prod(vision_config["merge_kernel_size"])
    return {
        **_with_bias("mm_projector.pre_norm", hidden_size),
        **_with_bias("mm_projector.proj.0", merged_size, merged_size),
        **_with_bias("mm_projector.proj.2", _size(vision_config, "text_hidden_size"), merged_size),
    }


def _with_bias(name: str, *shape: int) -> Table:
    return {f"{name}.weight": TensorSpec(shape), f"{name}.bias": TensorSpec(shape[:1])}


def _under(prefix: str, table: Table) -> Table:
    return {prefix + name: spec for name, spec in table.items()}


def _section(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = config.get(key)
    if not isinstance(section, Mapping):
        raise ValueError(f"config.json: {key} must be an object, got {type(section).__name__}")
    return section


def _size(config: Mapping[str, Any], key: str, minimum: int = 1) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"config.json: {key} must be an integer >= {minimum}, got {value!r}")
    return value


def _group_multiple(config: Mapping[str, Any], key: str) -> int:
    value = _size(config, key)
    if value % GROUP_SIZE:
        raise ValueError(
            f"config.json: {key} must be a multiple of {GROUP_SIZE} (inputs per INT4 scale), "
            f"got {value}"
        )
    return value


def _refuse_what_has_no_table(text_config: Mapping[str, Any]) -> None:
    for key in ("tie_word_embeddings", "num_nextn_predict_layers"):
        if text_config.get(key):
            raise ValueError(
                f"config.json: {key}={text_config[key]!r} is not a Kimi-K2.5/K2.6/K2.7 checkpoint; "
                "these have an lm_head of their own and no next-token-prediction layers"
            )
