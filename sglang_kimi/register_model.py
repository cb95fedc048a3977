"""What the entry point `kimi_model` does: config, tokenizer and model class, no remote code."""

from __future__ import annotations

import multiprocessing
from typing import Any

from . import config, tokenizer
from .checkpoint import CheckpointError
from .checkpoint_files import check_checkpoint, is_kimi_checkpoint
from .seams import hook, require


def register() -> None:
    """Register what serves `KimiK25ForConditionalGeneration` in this process."""
    config.register()
    tokenizer.register()
    require("config_registry").update(
        {"kimi_k25": config.KimiK25Config, "kimi_k2": config.KimiK2TextConfig}
    )
    for name in ("attention", "mlp", "stages"):
        require(name)
    require("model_registry_instance").register("sglang_kimi.models", overwrite=True, strict=True)
    if multiprocessing.parent_process() is None:
        hook("launch", refuse_broken_checkpoint, "before")


def refuse_broken_checkpoint(*args: Any, **kwargs: Any) -> None:
    """Compare the checkpoint's headers with its config before any process is started.

    Raises SystemExit with one line that names the tensor or file; reads headers only.
    """
    server_args = kwargs.get("server_args") or args[1]
    if not is_kimi_checkpoint(server_args.model_path) or server_args.load_format == "dummy":
        return
    try:
        check_checkpoint(server_args.model_path)
    except CheckpointError as error:
        raise SystemExit(f"sglang-kimi: {server_args.model_path}: {error}") from None
