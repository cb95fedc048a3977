"""Our INT4 kernels as a runner of SGLang's MoE layer, behind a quantisation method of our own.

SGLang's layer asks the method for weights and a runner, and gives the runner what its dispatcher
delivers; no flag names either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sglang.srt.layers.moe.moe_runner.base import (
    DispatchMoeRunnerCore,
    MoeQuantInfo,
    MoeRunnerConfig,
)
from sglang.srt.layers.moe.moe_runner.runner import MoeRunner, register_moe_runner_core
from sglang.srt.layers.moe.token_dispatcher.standard import StandardCombineInput
from sglang.srt.layers.moe.utils import get_moe_a2a_backend, resolve_moe_runner_backend
from sglang.srt.layers.quantization.base_config import FusedMoEMethodBase

from ..environment import CPU_EXPERT_LAYERS
from .deepep import configure_deepep, run_deepep
from .weights import ExpertWeights

RUNNER: Final = "kimi_int4"


@dataclass
class Int4QuantInfo(MoeQuantInfo):  # type: ignore[misc]
    """What a runner gets beside the tokens: this rank's experts."""

    experts: ExpertWeights


class Int4RunnerCore(DispatchMoeRunnerCore):  # type: ignore[misc]
    """Run this rank's experts on what a dispatcher delivered."""

    @property
    def runner_backend(self) -> Any:
        """Return our name in SGLang's form."""
        return resolve_moe_runner_backend(RUNNER)

    def run_from_dispatch(
        self,
        dispatch_output: Any,
        quant_info: Int4QuantInfo,
        runner_config: MoeRunnerConfig,
        hooks: Any = None,
    ) -> Any:
        """Return what the dispatcher's `combine` takes.

        Raises NotImplementedError for a dispatcher whose layout we have no kernel for, and for
        LoRA's hooks.
        """
        if hooks is not None:
            raise NotImplementedError(f"{RUNNER}: no LoRA on the experts; drop --enable-lora")
        if dispatch_output.format.is_deepep():
            return run_deepep(dispatch_output, quant_info.experts.packed())
        if not dispatch_output.format.is_standard():
            raise NotImplementedError(
                f"--moe-a2a-backend: {RUNNER} takes the layouts of tokens of the standard "
                f"dispatcher and of DeepEP, got {dispatch_output.format.value}"
            )
        routing = dispatch_output.topk_output
        output = quant_info.experts.run(
            dispatch_output.hidden_states, routing.topk_ids, routing.topk_weights
        )
        return StandardCombineInput(hidden_states=output)


register_moe_runner_core(RUNNER, Int4RunnerCore)


class Int4ExpertsMethod(FusedMoEMethodBase):  # type: ignore[misc]
    """Hold a layer's experts as the checkpoint has them and run them with our kernels."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def create_weights(self, layer: Any, *args: Any, **kwargs: Any) -> None:
        """Give the layer its `weights`; sizes follow from the config and the rank."""
        layer.weights = ExpertWeights(self.config, layer.layer_id)

    def create_moe_runner(self, layer: Any, moe_runner_config: MoeRunnerConfig) -> None:
        """Take SGLang's runner with our core in it."""
        self.runner = MoeRunner(resolve_moe_runner_backend(RUNNER), moe_runner_config)

    def process_weights_after_loading(self, layer: Any) -> None:
        """Settle how tokens come and which kernel takes them, once the weights are there.

        Raises NotImplementedError for an all-to-all that we have no kernel for.
        """
        a2a = get_moe_a2a_backend()
        is_standard = a2a.is_none() or a2a.is_customized()
        if not (is_standard or a2a.is_deepep()):
            raise NotImplementedError(
                f"--moe-a2a-backend {a2a.value}: the INT4 experts take none, customized or deepep"
            )
        if a2a.is_deepep():
            if layer.weights.lie_apart:
                raise NotImplementedError(
                    f"{CPU_EXPERT_LAYERS}: experts on the CPU take no tokens from DeepEP"
                )
            configure_deepep(layer.dispatcher)
        layer.weights.choose_kernel(self.runner.config.params_dtype, is_standard=is_standard)

    def apply(self, layer: Any, dispatch_output: Any) -> Any:
        """Return what the dispatcher's `combine` takes."""
        return self.runner.run(dispatch_output, Int4QuantInfo(layer.weights))
