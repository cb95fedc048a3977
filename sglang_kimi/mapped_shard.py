"""Tensors that stay where they lie in a safetensors file: mapped read-only, nothing copied.

Pages are read when first touched and dropped by the kernel under memory pressure, so a checkpoint
may be larger than the machine's memory. The mapping holds the file itself: one that is replaced
(renamed over, deleted) goes on serving its old bytes. One that is cut or overwritten in place does
not: past the new end the process dies of SIGBUS, and new bytes are computed with unseen.
"""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from .checkpoint import CheckpointError, is_vision_tensor
from .checkpoint_files import read_header
from .weights import STORED


class MappedTensor(Tensor):
    """A tensor whose bytes are those of a file: it can be read only, a write ends the process.

    What is made from it, a view too, is a plain tensor. The mapping lasts as long as any of them.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


def mapped_text_tensors(shard: Path) -> Iterator[tuple[str, MappedTensor]]:
    """Yield name and tensor of one shard, reading the header only; vision is left aside.

    Raises CheckpointError for a shard whose header does not fit its size, or with a type that no
    text tensor has.
    """
    header = read_header(shard)
    with shard.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    warnings.filterwarnings("ignore", "The given buffer is not writable")  # nor shall it be
    data_start = 8 + int.from_bytes(content[:8], "little")
    for name, entry in header.items():
        if is_vision_tensor(name):
            continue
        if entry["dtype"] not in STORED:
            raise CheckpointError(
                f"tensor {name} in {shard.name}: want one of {', '.join(STORED)}, "
                f"found {entry['dtype']}"
            )
        begin, end = entry["data_offsets"]
        dtype = STORED[entry["dtype"]]
        flat = torch.frombuffer(
            content, dtype=dtype, count=(end - begin) // dtype.itemsize, offset=data_start + begin
        )
        yield name, flat.view(entry["shape"]).as_subclass(MappedTensor)
