"""The checkpoint's configuration as transformers (4.57 and 5.x) and SGLang read it.

K2.5, K2.6 and K2.7-Code share one config.json: `model_type: kimi_k25` outside, a DeepSeek-V3-shaped
`text_config` (`model_type: kimi_k2`) and a `vision_config` inside (FORMAT sections 1.1 and 1.2).
"""

from typing import Any

from transformers import AutoConfig
from transformers.configuration_utils import PretrainedConfig
from transformers.models.deepseek_v3.configuration_deepseek_v3 import DeepseekV3Config

from .checkpoint import GROUP_SIZE


class KimiK2TextConfig(DeepseekV3Config):  # type: ignore[no-untyped-call]
    """The language model's part; `expert_quantization` holds config.json's `quantization_config`.

    The section is kept under another name because engines that find `quantization_config` start
    their own compressed-tensors path, which refuses float32; our expert layer owns INT4.
    """

    model_type = "kimi_k2"

    def __init__(self, **kwargs: Any) -> None:
        quantization = kwargs.pop("quantization_config", None)
        quantization = kwargs.pop("expert_quantization", quantization)
        super().__init__(**kwargs)
        self.expert_quantization = quantization

    def to_dict(self) -> dict[str, Any]:
        """Return config.json's form, the quantisation section under its own name again."""
        data: dict[str, Any] = super().to_dict()
        quantization = data.pop("expert_quantization", None)
        if quantization is not None:
            data["quantization_config"] = quantization
        return data


class KimiVisionConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    """MoonViT's and the projector's part, keys as in config.json (`vt_hidden_size`, …)."""

    model_type = "kimi_k25_vision"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class KimiK25Config(PretrainedConfig):  # type: ignore[no-untyped-call]
    """The whole checkpoint's configuration.

    `language_model_only` is True while vision is not served: SGLang then asks for no image
    processor, and the vision tensors are left aside at load.
    Raises ValueError where a value is not what this architecture can serve.
    """

    model_type = "kimi_k25"
    has_no_defaults_at_init = True
    sub_configs = {"text_config": KimiK2TextConfig, "vision_config": KimiVisionConfig}  # noqa: RUF012

    def __init__(
        self,
        text_config: dict[str, Any] | KimiK2TextConfig | None = None,
        vision_config: dict[str, Any] | KimiVisionConfig | None = None,
        media_placeholder_token_id: int = 163605,
        ignore_index: int = -100,
        use_unified_vision_chunk: bool = True,
        video_placeholder: str = "<|kimi_k25_video_placeholder|>",
        **kwargs: Any,
    ) -> None:
        self.text_config = (
            text_config
            if isinstance(text_config, KimiK2TextConfig)
            else KimiK2TextConfig(**(text_config or {}))
        )
        self.vision_config = (
            vision_config
            if isinstance(vision_config, KimiVisionConfig)
            else KimiVisionConfig(**(vision_config or {}))
        )
        self.media_placeholder_token_id = media_placeholder_token_id
        self.ignore_index = ignore_index
        self.use_unified_vision_chunk = use_unified_vision_chunk
        self.video_placeholder = video_placeholder
        self.language_model_only = True
        # A JSON dump of the outer config carries our own switch; it is not the checkpoint's to set.
        kwargs.pop("language_model_only", None)
        super().__init__(**kwargs)
        if text_config is not None:
            check_text_config(self.text_config)

    @property
    def hidden_size(self) -> int:
        """Return the language model's hidden size."""
        return int(self.text_config.hidden_size)

    @property
    def vocab_size(self) -> int:
        """Return the number of ids, the 256 special ones included."""
        return int(self.text_config.vocab_size)


def check_text_config(config: KimiK2TextConfig) -> None:
    """Refuse what the model definition does not compute, naming key, value and what it serves."""
    wanted = {
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
        "hidden_act": "silu",
        "norm_topk_prob": True,
        "n_group": 1,
        "topk_group": 1,
        "moe_layer_freq": 1,
    }
    for key, value in wanted.items():
        found = getattr(config, key, value)
        if found != value:
            raise ValueError(f"text_config.{key}: this model serves {value!r}, found {found!r}")
    check_expert_quantization(config.expert_quantization)


def check_expert_quantization(section: dict[str, Any] | None) -> None:
    """Refuse any expert format but compressed-tensors pack-quantized INT4 group-32 symmetric."""
    if section is None:
        return
    groups = section.get("config_groups") or {}
    weights = [group.get("weights") or {} for group in groups.values()]
    wanted = {"num_bits": 4, "type": "int", "group_size": GROUP_SIZE, "symmetric": True}
    if section.get("format") != "pack-quantized" or len(weights) != 1:
        raise ValueError(
            "text_config.quantization_config: want one pack-quantized config group, "
            f"found format {section.get('format')!r} with {len(weights)} groups"
        )
    for key, value in wanted.items():
        if weights[0].get(key) != value:
            raise ValueError(
                f"text_config.quantization_config.config_groups.*.weights.{key}: "
                f"want {value!r}, found {weights[0].get(key)!r}"
            )


def register() -> None:
    """Make `transformers.AutoConfig` read `kimi_k25` and `kimi_k2` with the classes above."""
    AutoConfig.register("kimi_k25", KimiK25Config, exist_ok=True)
    AutoConfig.register("kimi_k2", KimiK2TextConfig, exist_ok=True)
