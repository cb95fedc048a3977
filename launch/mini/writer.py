"""Write a mini checkpoint folder: all of it or nothing.

The folder is made beside its final place and renamed when whole. A folder that this module wrote
before is replaced; any other that holds something is left alone.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from sglang_kimi.checkpoint import TensorSpec, checkpoint_tensors, layer_tensors, num_parameters

from .config import BENCH, FULL, LAYER, MINI, checkpoint_config, generation_config
from .shards import write_shards
from .tokenizer_files import rank_table, shipped_file, tokenizer_config
from .weights import random_tensor

GeometryName = Literal["mini", "bench", "layer", "full"]

MARKER_FILE: Final = "sglang-kimi-mini.json"
MAX_SHARD_BYTES: Final = {
    "mini": 4 << 20,
    "bench": 128 << 20,
    "layer": 2 << 30,
    "full": 2 << 30,
}
MAX_LAYERS: Final = 61  # what the real model has
DISK_MARGIN_BYTES: Final = 256 << 20


class MiniError(Exception):
    """The folder cannot be written; the message says why and what to do. Nothing was changed."""


@dataclass(frozen=True)
class MiniCheckpoint:
    """What was written."""

    directory: Path
    geometry: GeometryName
    num_layers: int
    num_tensors: int
    num_parameters: int
    num_bytes: int
    num_shards: int


def write_mini_checkpoint(
    directory: str | Path,
    *,
    seed: int = 0,
    geometry: GeometryName = "mini",
    num_layers: int | None = None,
    progress: Callable[[int, int], object] = lambda written, total: None,
) -> MiniCheckpoint:
    """Write a checkpoint with random weights.

    geometry:   "mini" is a whole checkpoint that serves; "bench" another, 0.25 GB with the true
                attention sizes, to measure on; "layer" a third, 11 GB, one dense and one MoE layer
                of the true size (hidden 7168, 384 experts); "full" is such MoE layers alone, 9.8 GB
                each, without embeddings, vision or tokenizer, for the kernels' tests.
    num_layers: 1 to 61; 4 (the first of them dense), 2 for "layer" and 1 for "full" if not given.
    progress:   is told the bytes written so far and in all, after each tensor.

    Raises MiniError for another number of layers, and if the folder holds something else or the
    disk has no room.
    """
    target = Path(directory).resolve()
    sizes = {"mini": MINI, "bench": BENCH, "layer": LAYER, "full": FULL}[geometry]
    if num_layers is not None:
        if not 1 <= num_layers <= MAX_LAYERS:
            raise MiniError(f"layers: want 1 to {MAX_LAYERS}, got {num_layers}")
        sizes = replace(sizes, num_hidden_layers=num_layers)
    config = checkpoint_config(sizes)
    tensors = _only_layers(config) if geometry == "full" else checkpoint_tensors(config)
    total = sum(spec.num_bytes for spec in tensors.values())
    _check_target(target)
    _check_disk_space(target, total)
    partial_folder = target.parent / f".{target.name}.partial-{os.getpid()}"
    try:
        partial_folder.mkdir(parents=True)
        shards = write_shards(
            partial_folder,
            tensors,
            partial(random_tensor, tensors=tensors, seed=seed),
            MAX_SHARD_BYTES[geometry],
            _running_total(progress, total),
        )
        documents = {"config.json": _json_bytes(config)}
        if geometry != "full":
            documents |= _serving_files(sizes.num_ranks)
        marker = {"geometry": geometry, "seed": seed, "weights": "random"}
        _write_documents(partial_folder, documents, marker, shards)
        _move_into_place(partial_folder, target)
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)
    return MiniCheckpoint(
        directory=target,
        geometry=geometry,
        num_layers=sizes.num_hidden_layers,
        num_tensors=len(tensors),
        num_parameters=num_parameters(tensors),
        num_bytes=total,
        num_shards=len(shards) - 1,  # the last is the index
    )


def _only_layers(config: dict[str, Any]) -> dict[str, TensorSpec]:
    text_config = config["text_config"]
    table: dict[str, TensorSpec] = {}
    for layer_id in range(text_config["num_hidden_layers"]):
        table |= layer_tensors(text_config, layer_id)
    return table


def _serving_files(num_ranks: int) -> dict[str, bytes]:
    return {
        "generation_config.json": _json_bytes(generation_config(num_ranks)),
        "tokenizer_config.json": _json_bytes(tokenizer_config(num_ranks)),
        "tiktoken.model": rank_table(num_ranks),
        "chat_template.jinja": shipped_file("chat_template.jinja"),
    }


def _write_documents(
    folder: Path, documents: dict[str, bytes], marker: dict[str, Any], shards: Iterable[str]
) -> None:
    marker = {**marker, "files": sorted([*documents, *shards, MARKER_FILE])}
    for name, content in {**documents, MARKER_FILE: _json_bytes(marker)}.items():
        (folder / name).write_bytes(content)


def _json_bytes(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _running_total(progress: Callable[[int, int], object], total: int) -> Callable[[int], object]:
    written = 0

    def add(num_bytes: int) -> None:
        nonlocal written
        written += num_bytes
        progress(written, total)

    return add


def _check_target(target: Path) -> None:
    """Raise MiniError unless the place is free, empty, or holds what this module wrote."""
    if not target.exists():
        return
    if not target.is_dir():
        raise MiniError(f"{target}: is a file; name a folder")
    present = {path.name for path in target.iterdir()}
    if foreign := sorted(present - _files_of_ours(target)):
        raise MiniError(
            f"{target}: holds {foreign[0]}, which this command did not write; "
            "name a new or an empty folder, or remove it yourself"
        )


def _files_of_ours(target: Path) -> set[str]:
    try:
        marker = json.loads((target / MARKER_FILE).read_text(encoding="utf-8"))
        return set(marker["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _check_disk_space(target: Path, num_bytes: int) -> None:
    existing = next(parent for parent in (target, *target.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    wanted = num_bytes + DISK_MARGIN_BYTES
    if free < wanted:
        raise MiniError(
            f"{existing}: {free / 1e9:.1f} GB free, want {wanted / 1e9:.1f} GB; "
            "free some space or name a folder on another disk"
        )


def _move_into_place(folder: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    folder.rename(target)
