"""A second opinion: transformers' DeepseekV3 on the same weights, given to it expanded."""

from importlib import import_module
from typing import Any

import pytest
import torch

from .kimi_reference import KimiReference

pytestmark = pytest.mark.slow

# float32 on both sides, logits spread by 3: 2.4e-5 was found.
LARGEST_DIFFERENCE = 2e-4


def test_transformers_deepseek_v3_gives_the_same_logits(
    reference: KimiReference, capsys: pytest.CaptureFixture[str]
) -> None:
    model = deepseek_v3(reference)
    generator = torch.Generator().manual_seed(0)
    token_ids = torch.randint(0, 4096, (96,), generator=generator)
    ours = reference.logits(token_ids.tolist())
    with torch.no_grad():
        theirs = model(token_ids[None]).logits[0]
    largest = float((ours - theirs).abs().max())
    agreement = float((ours.argmax(-1) == theirs.argmax(-1)).float().mean())
    with capsys.disabled():
        print(f"\n96 positions: largest difference {largest:.2e}, top-1 agreement {agreement:.1%}")
    assert agreement == 1.0
    assert largest < LARGEST_DIFFERENCE


def deepseek_v3(reference: KimiReference) -> Any:
    transformers: Any = import_module("transformers")
    ignored = ("model_type", "architectures", "quantization_config", "transformers_version")
    values = {key: value for key, value in reference.config.items() if key not in ignored}
    config = transformers.DeepseekV3Config(**values, attn_implementation="eager")
    model = transformers.DeepseekV3ForCausalLM(config).float().eval()
    missing, unexpected = model.load_state_dict(stacked(reference), strict=False)
    assert not missing
    assert not unexpected
    for layer in model.model.layers:
        for norm in (layer.self_attn.q_a_layernorm, layer.self_attn.kv_a_layernorm):
            norm.variance_epsilon = config.rms_norm_eps  # 1e-6 here, unlike in SGLang and vLLM
    return model


def stacked(reference: KimiReference) -> dict[str, torch.Tensor]:
    """Return the weights as transformers 5 names them: all experts of a layer in two tensors."""
    weights = {
        name: tensor for name, tensor in reference.tensors.items() if ".mlp.experts." not in name
    }
    config = reference.config
    for layer_id in range(config["first_k_dense_replace"], config["num_hidden_layers"]):
        prefix = f"model.layers.{layer_id}.mlp.experts."
        gate, up, down = (
            torch.stack(
                [
                    reference.tensors[f"{prefix}{expert_id}.{projection}_proj.weight"]
                    for expert_id in range(config["n_routed_experts"])
                ]
            )
            for projection in ("gate", "up", "down")
        )
        weights[f"{prefix}gate_up_proj"] = torch.cat((gate, up), dim=1)
        weights[f"{prefix}down_proj"] = down
    return weights
