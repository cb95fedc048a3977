"""SGLang's dense MLP with our kernel: one call in the place of three layers."""

from __future__ import annotations

from typing import Any

from sglang.srt.models.deepseek_v2 import DeepseekV2MLP
from torch import Tensor

from sglang_kimi.kernels.linear.bf16_mlp import bf16_mlp

from .dense import Bf16LinearMethod


class CpuMLP(DeepseekV2MLP):  # type: ignore[misc]
    """The same weights and results; bf16 weights are wanted (see `dense`), else as SGLang does."""

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        """Return [num_tokens, hidden_size], this rank's part."""
        layers = (self.gate_up_proj, self.down_proj)
        if x.shape[0] and all(isinstance(part.quant_method, Bf16LinearMethod) for part in layers):
            return bf16_mlp(x, self.gate_up_proj.weight, self.down_proj.weight)
        output: Tensor = super().forward(x, *args)
        return output
