"""SGLang's RMSNorm with our kernel: one call in the place of seven operations of torch."""

from __future__ import annotations

from typing import Any

from sglang.srt.layers.layernorm import RMSNorm
from torch import Tensor

from sglang_kimi.kernels.norm.rms_norm import rms_norm


class CpuRMSNorm(RMSNorm):  # type: ignore[misc]
    """The same weights and results, to float32's rounding."""

    def forward_native(
        self,
        x: Tensor,
        residual: Tensor | None = None,
        post_residual_addition: Tensor | None = None,
        quant_linear: Any = None,
    ) -> Any:
        """Return the normed rows, with a residual also the new residual stream."""
        if post_residual_addition is not None:
            return super().forward_native(x, residual, post_residual_addition, quant_linear)
        normed, total = rms_norm(x, self.weight, self.variance_epsilon, residual)
        return normed if residual is None else (normed, total)
