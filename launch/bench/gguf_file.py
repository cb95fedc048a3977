"""Write GGUF files (version 3): key-value pairs, a table of tensors, their bytes.

Knows the format alone; see https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

_VERSION: Final = 3
_ALIGNMENT: Final = 32
_TENSOR_TYPES: Final = {"F32": 0, "Q4_0": 2, "BF16": 30}
_UINT32, _FLOAT32, _BOOL, _STRING = 4, 6, 7, 8

TensorType = Literal["F32", "Q4_0", "BF16"]
Value = bool | int | float | str


@dataclass(frozen=True)
class GgufTensor:
    """One tensor.

    shape: outermost dimension first, as torch counts (the file has them the other way round).
    data:  its stored bytes, little-endian.
    """

    shape: tuple[int, ...]
    type: TensorType
    data: bytes


def write_gguf(path: Path, pairs: Mapping[str, Value], tensors: Mapping[str, GgufTensor]) -> None:
    """Write a file; whole numbers are stored as uint32."""
    offset = 0
    infos = []
    for name, tensor in tensors.items():
        shape = struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape))
        kind = struct.pack("<IQ", _TENSOR_TYPES[tensor.type], offset)
        infos.append(_string(name) + struct.pack("<I", len(tensor.shape)) + shape + kind)
        offset += len(tensor.data) + _padding(len(tensor.data))
    head = b"GGUF" + struct.pack("<IQQ", _VERSION, len(tensors), len(pairs))
    head += b"".join(_string(key) + _value(value) for key, value in pairs.items())
    head += b"".join(infos)
    with path.open("wb") as file:
        file.write(head + bytes(_padding(len(head))))
        for tensor in tensors.values():
            file.write(tensor.data)
            file.write(bytes(_padding(len(tensor.data))))


def _padding(length: int) -> int:
    return -length % _ALIGNMENT


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Value) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    return struct.pack("<I", _STRING) + _string(value)
