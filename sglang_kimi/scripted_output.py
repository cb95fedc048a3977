"""A logit processor that makes any model say given ids: for measuring what is made of them.

A request names it in `custom_logit_processor` and brings the ids in `custom_params` as `script`
(a server needs `--enable-custom-logit-processor`). Imported by scheduler processes only.
"""

from __future__ import annotations

from typing import Any

import torch
from sglang.srt.sampling.custom_logit_processor import CustomLogitProcessor

from .seams import require

SCRIPT = "script"
"""Key of `custom_params`: the ids to generate, in order; the last one repeats for ever."""


class ScriptedOutput(CustomLogitProcessor):  # type: ignore[misc]
    """Forces each request's next id; counts for itself, as the ids known to SGLang lag by one."""

    def __call__(
        self, logits: torch.Tensor, custom_param_list: list[dict[str, Any]] | None = None
    ) -> torch.Tensor:
        """Return logits, [num_requests, vocab_size], that leave one id to each request."""
        for row, params in enumerate(custom_param_list or ()):
            script, position = params[SCRIPT], params.get("position", 0)
            if position == 0 and _is_within_prompt(params["__req__"]):
                continue  # what is sampled behind a chunk of the prompt is thrown away
            logits[row] = float("-inf")
            logits[row, script[min(position, len(script) - 1)]] = 0.0
            params["position"] = position + 1
        return logits


def _is_within_prompt(req: Any) -> bool:
    return len(require("prefilled_ids")(req)) < len(req.origin_input_ids)
