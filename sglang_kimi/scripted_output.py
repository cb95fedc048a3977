"""A logit processor that makes any model say given ids: for measuring what is made of them.

A request names it in `custom_logit_processor` and brings the ids in `custom_params` as `script`
(a server needs `--enable-custom-logit-processor`). Imported by scheduler processes only.

It sees the logits behind the grammar's mask and never overrules it: where the mask refuses the
script's next id, the script is over and the model goes on as the mask allows.
"""

from __future__ import annotations

from typing import Any

import torch
from sglang.srt.sampling.custom_logit_processor import CustomLogitProcessor

from .seams import require

SCRIPT = "script"
"""Key of `custom_params`: the ids to generate, in order; the last one repeats for ever."""

THEN_FREE = "then_free"
"""Key of `custom_params`: True lets the model choose behind the script, instead of repeating."""


class ScriptedOutput(CustomLogitProcessor):  # type: ignore[misc]
    """Forces each request's next id; counts for itself, as the ids known to SGLang lag by one."""

    def __call__(
        self, logits: torch.Tensor, custom_param_list: list[dict[str, Any]] | None = None
    ) -> torch.Tensor:
        """Return logits, [num_requests, vocab_size], that leave one id to each scripted request."""
        for row, params in enumerate(custom_param_list or ()):
            position = params.get("position", 0)
            if position == 0 and _is_within_prompt(params["__req__"]):
                continue  # what is sampled behind a chunk of the prompt is thrown away
            token_id = _next_id(params, position)
            if token_id is None:
                continue
            if logits[row, token_id] == float("-inf"):
                params["is_refused"] = True
                continue
            logits[row] = float("-inf")
            logits[row, token_id] = 0.0
            params["position"] = position + 1
        return logits


def _next_id(params: dict[str, Any], position: int) -> int | None:
    """Return the id to force, None where the script is over."""
    script: list[int] = params[SCRIPT]
    is_over = params.get("is_refused") or (params.get(THEN_FREE) and position >= len(script))
    return None if is_over else script[min(position, len(script) - 1)]


def _is_within_prompt(req: Any) -> bool:
    return len(require("prefilled_ids")(req)) < len(req.origin_input_ids)
