"""Let SGLang's loader hand out mapped tensors, where experts are to stay in their files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from .checkpoint import ARCHITECTURE
from .environment import cpu_expert_layers
from .mapped_shard import mapped_text_tensors
from .seams import hook

MAPPABLE_FORMATS = ("auto", "safetensors")
CPU_DEVICE_NAME = "kimi_cpu"  # of our platform


def register() -> None:
    """Hook the loader's iterator over files."""
    hook("weights_iterator", _map_files, "around")


def _map_files(
    iterate: Callable[..., Iterator[tuple[str, Tensor]]],
    loader: Any,
    source: Any,
    *,
    resolved_source: Any = None,
    **options: Any,
) -> Iterable[tuple[str, Tensor]]:
    """Return (name, tensor) of a checkpoint; SGLang still finds, downloads and filters the files.

    It goes on as ever for other models, other formats and with --weight-loader-disable-mmap: then
    the tensors are plain and get copied.
    """
    if not _maps(loader, source):
        return iterate(loader, source, resolved_source=resolved_source, **options)
    if resolved_source is not None:
        files, are_safetensors = resolved_source.weight_files, resolved_source.use_safetensors
    else:
        _, files, are_safetensors = loader._prepare_weights(
            source.model_or_path,
            source.revision,
            source.fall_back_to_pt,
            source.allow_patterns_overrides,
        )
    if not are_safetensors:
        return iterate(loader, source, resolved_source=resolved_source, **options)
    return (
        (source.prefix + name, tensor)
        for file in sorted(files)
        for name, tensor in mapped_text_tensors(Path(file))
    )


def _maps(loader: Any, source: Any) -> bool:
    from sglang.srt.platforms import current_platform
    from sglang.srt.runtime_context import get_model

    is_ours = source.model_config and ARCHITECTURE in source.model_config.hf_config.architectures
    has_experts_on_cpu = current_platform.device_name == CPU_DEVICE_NAME or cpu_expert_layers()
    return bool(
        is_ours
        and has_experts_on_cpu
        and loader.load_config.load_format in MAPPABLE_FORMATS
        and not get_model().weight_loader_disable_mmap
    )
