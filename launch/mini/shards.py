"""Write safetensors shards and their index, one tensor in memory at a time.

    shard: 8 bytes header length (little-endian) | JSON header, padded with spaces | tensor bytes

Knows tables and files, not what the tensors are.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sglang_kimi.checkpoint import BYTES_PER_ELEMENT, TensorSpec

INDEX_FILE: Final = "model.safetensors.index.json"
HEADER_ALIGNMENT: Final = 8

MakeTensor = Callable[[str], bytes]
Progress = Callable[[int], object]


def write_shards(
    directory: Path,
    tensors: Mapping[str, TensorSpec],
    make_tensor: MakeTensor,
    max_shard_bytes: int,
    progress: Progress,
) -> list[str]:
    """Write all tensors in table order, a new shard whenever one is full; return the file names.

    make_tensor: gives a tensor's stored bytes; called once each.
    progress:    is told the bytes of each tensor after it is written.
    """
    plan = plan_shards(tensors, max_shard_bytes)
    weight_map: dict[str, str] = {}
    for number, names in enumerate(plan, start=1):
        file_name = f"model-{number:05d}-of-{len(plan):06d}.safetensors"
        _write_shard(directory / file_name, names, tensors, make_tensor, progress)
        weight_map |= dict.fromkeys(names, file_name)
    index = {
        "metadata": {"total_size": sum(spec.num_bytes for spec in tensors.values())},
        "weight_map": dict(sorted(weight_map.items())),
    }
    (directory / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return [*dict.fromkeys(weight_map.values()), INDEX_FILE]


def plan_shards(tensors: Mapping[str, TensorSpec], max_shard_bytes: int) -> list[list[str]]:
    """Cut the table into runs of at most so many bytes; a larger tensor gets a shard of its own."""
    shards: list[list[str]] = []
    room = 0
    for name, spec in tensors.items():
        if spec.num_bytes > room or not shards:
            shards.append([])
            room = max_shard_bytes
        shards[-1].append(name)
        room -= spec.num_bytes
    return shards


def _write_shard(
    path: Path,
    names: Sequence[str],
    tensors: Mapping[str, TensorSpec],
    make_tensor: MakeTensor,
    progress: Progress,
) -> None:
    # Wide elements first, so that each tensor starts at a multiple of its element size.
    ordered = sorted(names, key=lambda name: -BYTES_PER_ELEMENT[tensors[name].dtype])
    with path.open("wb") as shard:
        shard.write(_header(ordered, tensors))
        for name in ordered:
            stored = make_tensor(name)
            assert len(stored) == tensors[name].num_bytes
            shard.write(stored)
            progress(len(stored))


def _header(names: Sequence[str], tensors: Mapping[str, TensorSpec]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in names:
        spec = tensors[name]
        offsets = [offset, offset + spec.num_bytes]
        header[name] = {"dtype": spec.dtype, "shape": [*spec.shape], "data_offsets": offsets}
        offset += spec.num_bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % HEADER_ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
