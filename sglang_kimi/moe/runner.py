"""Our runner core in SGLang's registry, under the name `kimi_int4`.

A core that takes dispatch outputs as they are serves every dispatcher: the standard one, whose
tokens are all here and whose ids of other ranks are -1, and DeepEP's two modes. SGLang's
`register_fused_func` would be the shorter way for DeepEP, but refuses names that are not built in
(`MoeRunnerBackend(name)`); a core of an out-of-tree name is the way it has for us.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

from sglang.srt.layers.moe.moe_runner.base import DispatchMoeRunnerCore, MoeQuantInfo

from sglang_kimi.kernels.moe.int4 import AnyInt4Experts, moe_int4

from ..seams import require
from .deepep import run_deepep

BACKEND: Final = "kimi_int4"


@dataclass
class Int4QuantInfo(MoeQuantInfo):  # type: ignore[misc]  # the host is untyped
    """What a layer hands to its runner: this rank's packed experts."""

    experts: AnyInt4Experts


class Int4RunnerCore(DispatchMoeRunnerCore):  # type: ignore[misc]  # the host is untyped
    """Applies the experts to a dispatch output; router weights come complete, scaling included."""

    @property
    def runner_backend(self) -> Any:
        """Return our name as SGLang's registry holds it."""
        return runner_backend()

    def run_from_dispatch(
        self, dispatch_output: Any, quant_info: Int4QuantInfo, runner_config: Any, hooks: Any = None
    ) -> Any:
        """Return the combine input that belongs to the dispatch output.

        Raises NotImplementedError for LoRA hooks, ValueError for a format we do not know.
        """
        if hooks is not None:
            raise NotImplementedError("LoRA on the INT4 experts: serve without --enable-lora")
        if not dispatch_output.format.is_standard():
            return run_deepep(dispatch_output, quant_info.experts)
        topk = dispatch_output.topk_output
        output = moe_int4(
            dispatch_output.hidden_states,
            quant_info.experts,
            topk.topk_ids,
            topk.topk_weights.float(),
        )
        return require("standard_input")(hidden_states=output)


@functools.cache
def runner_backend() -> Any:
    """Register the core in this process, once, and return its backend for a MoeRunner."""
    require("moe_runner_core")(BACKEND, Int4RunnerCore)
    return require("moe_runner_backend")(BACKEND)
