"""What the entry point `kimi_model` does: config, tokenizer and model class, no remote code."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import Any

from . import config, mapped_loading, step_times, tokenizer
from .checkpoint import ARCHITECTURE
from .checkpoint_files import check_checkpoint, is_kimi_checkpoint, read_text_config
from .moe import register as all_to_all
from .moe.placement import check_cpu_expert_layers
from .seams import hook, require

MODEL_PACKAGE = "sglang_kimi.models"


def register() -> None:
    """Register what serves `KimiK25ForConditionalGeneration` in this process."""
    config.register()
    tokenizer.register()
    require("config_registry").update(
        {"kimi_k25": config.KimiK25Config, "kimi_k2": config.KimiK2TextConfig}
    )
    register_model_class()
    step_times.register()
    mapped_loading.register()
    all_to_all.register()
    if multiprocessing.parent_process() is None:
        hook("launch", refuse_broken_checkpoint, "before")


def register_model_class() -> None:
    """Put our class in SGLang's registry, at the time when the registry is first needed.

    Only the schedulers need it: naming our package in the environment spares the other processes
    the import of every in-tree model (ten seconds), and hands on to the schedulers by itself.
    """
    named = os.environ.setdefault("SGLANG_EXTERNAL_MODEL_PACKAGE", MODEL_PACKAGE)
    if named != MODEL_PACKAGE or "sglang.srt.models.registry" in sys.modules:
        require("model_registry").register(MODEL_PACKAGE, overwrite=True, strict=True)
    hook("model_class", refuse_other_class, "after")


def refuse_other_class(result: tuple[type, str], *args: Any, **kwargs: Any) -> None:
    """Stop where SGLang would build another class for our architecture (ours failed to import)."""
    model_class, architecture = result
    if architecture == ARCHITECTURE and not model_class.__module__.startswith(MODEL_PACKAGE):
        __import__(f"{MODEL_PACKAGE}.kimi_k27")  # raises what went wrong
        raise RuntimeError(f"{architecture}: SGLang chose {model_class.__module__}, not ours")


def refuse_broken_checkpoint(*args: Any, **kwargs: Any) -> None:
    """Compare the checkpoint's headers with its config before any process is started.

    Raises SystemExit with one line that names the tensor, the file or the key of the config.
    Reads headers only.
    """
    server_args = kwargs.get("server_args") or args[1]
    if not is_kimi_checkpoint(server_args.model_path) or server_args.load_format == "dummy":
        return
    try:
        check_checkpoint(server_args.model_path)
        has_graphs = server_args.device != "cpu" and not server_args.disable_cuda_graph
        check_cpu_expert_layers(read_text_config(server_args.model_path), has_graphs=has_graphs)
        all_to_all.check_all_to_all(server_args, has_graphs=has_graphs)
    except ValueError as error:
        raise SystemExit(f"sglang-kimi: {server_args.model_path}: {error}") from None
