"""config.json of a mini checkpoint: the release's keys with small values, and the true sizes.

Two things differ from the release's file on purpose. `auto_map` is left out, inside and outside:
it points to Python files that the release ships and runs with `--trust-remote-code`; a mini
checkpoint has none and needs none. And the 256 control tokens follow a small vocabulary, so their
ids are smaller.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

from .tokenizer_files import NUM_CONTROL_TOKENS, control_token_id

REAL_NUM_RANKS: Final = 163584
MINI_NUM_RANKS: Final = 3840
BENCH_NUM_RANKS: Final = 31744  # 32,000 ids with the control tokens

# What transformers 4.56 wrote into every nested config by default. It means nothing to the model,
# but stands in the release's file, so a reader that trips over it must trip here too.
LEGACY_DEFAULTS: Final[dict[str, Any]] = {
    "_name_or_path": "",
    "add_cross_attention": False,
    "bad_words_ids": None,
    "begin_suppress_tokens": None,
    "chunk_size_feed_forward": 0,
    "cross_attention_hidden_size": None,
    "decoder_start_token_id": None,
    "diversity_penalty": 0.0,
    "do_sample": False,
    "early_stopping": False,
    "encoder_no_repeat_ngram_size": 0,
    "exponential_decay_length_penalty": None,
    "finetuning_task": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "is_decoder": False,
    "is_encoder_decoder": False,
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "length_penalty": 1.0,
    "max_length": 20,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "num_beam_groups": 1,
    "num_beams": 1,
    "num_return_sequences": 1,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_scores": False,
    "prefix": None,
    "problem_type": None,
    "pruned_heads": {},
    "remove_invalid_values": False,
    "repetition_penalty": 1.0,
    "return_dict": True,
    "return_dict_in_generate": False,
    "sep_token_id": None,
    "suppress_tokens": None,
    "task_specific_params": None,
    "temperature": 1.0,
    "tf_legacy_loss": False,
    "tie_encoder_decoder": False,
    "tokenizer_class": None,
    "top_k": 50,
    "top_p": 1.0,
    "torchscript": False,
    "transformers_version": "4.56.2",
    "typical_p": 1.0,
    "use_bfloat16": False,
}


@dataclass(frozen=True)
class Geometry:
    """The sizes in which checkpoints of this architecture differ; names as in config.json."""

    num_ranks: int
    num_hidden_layers: int
    first_k_dense_replace: int
    hidden_size: int
    intermediate_size: int
    moe_intermediate_size: int
    n_routed_experts: int
    num_experts_per_tok: int
    num_attention_heads: int
    q_lora_rank: int
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    vt_hidden_size: int
    vt_intermediate_size: int
    vt_num_attention_heads: int
    vt_num_hidden_layers: int
    init_pos_emb_size: int

    @property
    def vocab_size(self) -> int:
        """Return the number of ids, control tokens included."""
        return self.num_ranks + NUM_CONTROL_TOKENS


# Heads and experts are divisible by 8, for tensor and expert parallelism; an expert's share of its
# intermediate size stays a multiple of the 32 inputs of a scale up to 4 ranks.
MINI: Final = Geometry(
    num_ranks=MINI_NUM_RANKS,
    num_hidden_layers=4,
    first_k_dense_replace=1,
    hidden_size=256,
    intermediate_size=512,
    moe_intermediate_size=128,
    n_routed_experts=16,
    num_experts_per_tok=4,
    num_attention_heads=8,
    q_lora_rank=128,
    kv_lora_rank=128,
    qk_nope_head_dim=64,
    qk_rope_head_dim=64,
    v_head_dim=64,
    vt_hidden_size=64,
    vt_intermediate_size=128,
    vt_num_attention_heads=8,
    vt_num_hidden_layers=2,
    init_pos_emb_size=16,
)

# What inference engines are compared on: real attention sizes, 0.25 GB, more work than overhead.
BENCH: Final = Geometry(
    num_ranks=BENCH_NUM_RANKS,
    num_hidden_layers=4,
    first_k_dense_replace=1,
    hidden_size=1024,
    intermediate_size=2048,
    moe_intermediate_size=512,
    n_routed_experts=16,
    num_experts_per_tok=4,
    num_attention_heads=16,
    q_lora_rank=512,
    kv_lora_rank=512,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    vt_hidden_size=64,
    vt_intermediate_size=128,
    vt_num_attention_heads=8,
    vt_num_hidden_layers=2,
    init_pos_emb_size=16,
)

# FORMAT sections 1.1 and 1.2, with fewer layers, none of them dense.
FULL: Final = Geometry(
    num_ranks=REAL_NUM_RANKS,
    num_hidden_layers=1,
    first_k_dense_replace=0,
    hidden_size=7168,
    intermediate_size=18432,
    moe_intermediate_size=2048,
    n_routed_experts=384,
    num_experts_per_tok=8,
    num_attention_heads=64,
    q_lora_rank=1536,
    kv_lora_rank=512,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    vt_hidden_size=1152,
    vt_intermediate_size=4304,
    vt_num_attention_heads=16,
    vt_num_hidden_layers=27,
    init_pos_emb_size=64,
)

# Two layers of the true size, dense and MoE, and what else a server needs in little: 11 GB.
LAYER: Final = replace(
    FULL,
    num_ranks=MINI_NUM_RANKS,
    num_hidden_layers=2,
    first_k_dense_replace=1,
    vt_hidden_size=MINI.vt_hidden_size,
    vt_intermediate_size=MINI.vt_intermediate_size,
    vt_num_attention_heads=MINI.vt_num_attention_heads,
    vt_num_hidden_layers=MINI.vt_num_hidden_layers,
    init_pos_emb_size=MINI.init_pos_emb_size,
)


def checkpoint_config(geometry: Geometry) -> dict[str, Any]:
    """Return config.json for the given sizes."""
    num_ranks = geometry.num_ranks
    return {
        "architectures": ["KimiK25ForConditionalGeneration"],
        **_control_ids(num_ranks),
        "dtype": "bfloat16",
        "ignore_index": -100,
        "media_placeholder_token_id": control_token_id("<|media_pad|>", num_ranks),
        "model_type": "kimi_k25",
        "text_config": _text_config(geometry),
        "tie_word_embeddings": False,
        "use_unified_vision_chunk": True,
        "video_placeholder": "<|kimi_k25_video_placeholder|>",
        "vision_config": _vision_config(geometry),
    }


def generation_config(num_ranks: int) -> dict[str, Any]:
    """Return generation_config.json: no sampling values, as in the release (FORMAT section 5)."""
    return {"max_length": 262144, "eos_token_id": control_token_id("<|im_end|>", num_ranks)}


def _control_ids(num_ranks: int) -> dict[str, int]:
    # The model's end is <|im_end|>; the tokenizer's is [EOS]. Both stop (FORMAT section 2.2).
    return {
        "bos_token_id": control_token_id("[BOS]", num_ranks),
        "eos_token_id": control_token_id("<|im_end|>", num_ranks),
        "pad_token_id": control_token_id("[PAD]", num_ranks),
    }


def _text_config(geometry: Geometry) -> dict[str, Any]:
    sizes = (
        "num_hidden_layers first_k_dense_replace hidden_size intermediate_size "
        "moe_intermediate_size n_routed_experts num_experts_per_tok num_attention_heads "
        "q_lora_rank kv_lora_rank qk_nope_head_dim qk_rope_head_dim v_head_dim vocab_size"
    )
    return {
        **LEGACY_DEFAULTS,
        **_control_ids(geometry.num_ranks),
        **{name: getattr(geometry, name) for name in sizes.split()},
        "architectures": ["DeepseekV3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "aux_loss_alpha": 0.001,
        "dtype": "bfloat16",
        "ep_size": 1,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_position_embeddings": 262144,
        "model_type": "kimi_k2",
        "moe_layer_freq": 1,
        "n_group": 1,
        "n_shared_experts": 1,
        "norm_topk_prob": True,
        "num_key_value_heads": geometry.num_attention_heads,
        "num_nextn_predict_layers": 0,
        "pretraining_tp": 1,
        "quantization_config": _quantization_config(),
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "factor": 64.0,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "original_max_position_embeddings": 4096,
            "type": "yarn",
        },
        "rope_theta": 50000.0,
        "routed_scaling_factor": 2.827,
        "scoring_func": "sigmoid",
        "seq_aux": True,
        "tie_word_embeddings": False,
        "topk_group": 1,
        "topk_method": "noaux_tc",
        "use_cache": True,
    }


def _quantization_config() -> dict[str, Any]:
    weights: dict[str, Any] = {
        "actorder": None,
        "block_structure": None,
        "dynamic": False,
        "group_size": 32,
        "num_bits": 4,
        "observer": "minmax",
        "observer_kwargs": {},
        "strategy": "group",
        "symmetric": True,
        "type": "int",
    }
    group = {"input_activations": None, "output_activations": None, "targets": ["Linear"]}
    return {
        "config_groups": {"group_0": {**group, "weights": weights}},
        "format": "pack-quantized",
        "ignore": [
            "lm_head",
            "re:.*self_attn.*",
            "re:.*shared_experts.*",
            "re:.*mlp\\.(gate|up|gate_up|down)_proj.*",
            "re:.*vision_tower.*",
            "re:.*mm_projector.*",
        ],
        "kv_cache_scheme": None,
        "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
    }


def _vision_config(geometry: Geometry) -> dict[str, Any]:
    return {
        "_attn_implementation": "flash_attention_2",
        "init_pos_emb_height": geometry.init_pos_emb_size,
        "init_pos_emb_time": 4,
        "init_pos_emb_width": geometry.init_pos_emb_size,
        "merge_kernel_size": [2, 2],
        "merge_type": "sd2_tpool",
        "mm_hidden_size": geometry.vt_hidden_size,
        "mm_projector_type": "patchmerger",
        "patch_size": 14,
        "pos_emb_type": "divided_fixed",
        "projector_hidden_act": "gelu",
        "projector_ln_eps": 1e-05,
        "text_hidden_size": geometry.hidden_size,
        "video_attn_type": "spatial_temporal",
        "vt_hidden_size": geometry.vt_hidden_size,
        "vt_intermediate_size": geometry.vt_intermediate_size,
        "vt_num_attention_heads": geometry.vt_num_attention_heads,
        "vt_num_hidden_layers": geometry.vt_num_hidden_layers,
    }
