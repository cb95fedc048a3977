"""Checkpoint folder against its own config, from safetensors headers alone.

Layout of a shard: 8 bytes little-endian header length, a JSON header of name → dtype, shape and
byte range, then the bytes. Reads no tensor, so the 595 GB checkpoint takes about a second.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from operator import index
from pathlib import Path
from typing import Any

from .checkpoint import ARCHITECTURE, CheckpointError, TensorSpec, is_vision_tensor, text_tensors

INDEX_NAME = "model.safetensors.index.json"
MAX_HEADER_BYTES = 100 * 1024 * 1024  # the format's own limit
# What reading foreign JSON raises where it is damaged or of another form.
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError)


def is_kimi_checkpoint(directory: str | Path) -> bool:
    """Say whether `directory` is a local checkpoint of our architecture."""
    try:
        config = json.loads((Path(directory) / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and ARCHITECTURE in (config.get("architectures") or [])


def read_text_config(directory: str | Path) -> dict[str, Any]:
    """Return the language model's part of config.json."""
    config: dict[str, Any] = json.loads((Path(directory) / "config.json").read_text())
    text_config: dict[str, Any] = config.get("text_config", config)
    return text_config


def check_checkpoint(directory: str | Path) -> None:
    """Compare every shard's header with the tensors that config.json calls for.

    Raises CheckpointError naming the file or tensor, the expected and the found shape; ValueError
    for a config.json that calls for no tensors.
    """
    folder = Path(directory)
    expected = text_tensors(read_text_config(folder))
    found: dict[str, str] = {}
    for shard in shard_files(folder):
        for name, entry in read_header(shard).items():
            if name in found:
                raise CheckpointError(f"tensor {name} is in {found[name]} and in {shard.name}")
            found[name] = shard.name
            check_entry(name, entry, expected, shard.name)
    missing = sorted(expected.keys() - found.keys())
    if missing:
        raise CheckpointError(
            f"tensor {missing[0]} is missing, expected shape {[*expected[missing[0]].shape]}; "
            f"{len(missing)} missing in all"
        )


def shard_files(folder: Path) -> list[Path]:
    """Return the shards the index names, or all of the folder's; each must exist."""
    index_path = folder / INDEX_NAME
    if index_path.is_file():
        names = _indexed_names(index_path)
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
    absent = [name for name in names if not (folder / name).is_file()]
    if absent or not names:
        what = absent[0] if absent else "*.safetensors"
        raise CheckpointError(f"shard {what} does not exist; copy the checkpoint again")
    return [folder / name for name in names]


def _indexed_names(path: Path) -> list[str]:
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()
        return sorted({os.fspath(name) for name in names})
    except _MALFORMED:
        raise CheckpointError(
            f"{path.name} has no readable weight_map of tensors to shards; copy it again"
        ) from None


def read_header(shard: Path) -> dict[str, Any]:
    """Return name → {dtype, shape, data_offsets} of one shard; its size must fit."""
    size = shard.stat().st_size
    with shard.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else MAX_HEADER_BYTES + 1
        if length > min(size - 8, MAX_HEADER_BYTES):
            raise CheckpointError(f"shard {shard.name} is cut within its header ({size} bytes)")
        try:
            header: dict[str, Any] = json.loads(file.read(length))
            header.pop("__metadata__", None)
            end = max(map(_end_of_bytes, header.values()), default=0)
        except _MALFORMED:
            raise CheckpointError(
                f"shard {shard.name} has no readable header; copy it again"
            ) from None
    if size != 8 + length + end:
        raise CheckpointError(
            f"shard {shard.name} is truncated or damaged: expected {8 + length + end} bytes, "
            f"found {size}; copy it again"
        )
    return header


def _end_of_bytes(entry: Mapping[str, Any]) -> int:
    """Return where a tensor's bytes end; raises one of _MALFORMED if the entry is none."""
    begin, end = map(index, entry["data_offsets"])
    if not 0 <= begin <= end or not isinstance(entry["dtype"], str):
        raise ValueError(entry)
    list(map(index, entry["shape"]))
    return end


def check_entry(
    name: str, entry: Mapping[str, Any], expected: Mapping[str, TensorSpec], shard: str
) -> None:
    """Compare one header entry with the table."""
    if is_vision_tensor(name):
        return
    spec = expected.get(name)
    found = f"{entry['shape']} {entry['dtype']}"
    if spec is None:
        raise CheckpointError(f"tensor {name} in {shard} is unknown, found {found}")
    if tuple(entry["shape"]) != spec.shape or entry["dtype"] != spec.dtype:
        raise CheckpointError(
            f"tensor {name} in {shard}: expected {[*spec.shape]} {spec.dtype}, found {found}"
        )
    begin, end = entry["data_offsets"]
    if end - begin != spec.num_bytes:
        raise CheckpointError(
            f"tensor {name} in {shard}: expected {spec.num_bytes} bytes, found {end - begin}"
        )
