"""Tile sizes of the Triton INT4 kernels: measured ones from files, documented defaults without.

One JSON file for a kind of device, `<device name>.json`, looked for in the user's cache, where
`sglang-kimi tune int4` writes, and then in `configs/` beside this module, part of the wheel:

    {"device": "NVIDIA H100 80GB HBM3", "triton": "3.8.0", "shapes": {
       "48x7168x2048": {"8": {"block_m": 16, "gate_up": {...}, "down": {...}, "us": 41.0}}}}

A shape is local experts x hidden size x intermediate size of the rank, a key below it a number of
tokens. Knows nothing of kernels.
"""

import functools
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from .int4_experts import Int4Experts

logger = logging.getLogger(__name__)

PACKAGED: Final = Path(__file__).resolve().parent / "configs"
BLACKWELL: Final = (10, 0)


@dataclass(frozen=True)
class Tile:
    """How one matrix product is cut.

    block_n: weight rows of a program; block_words: words of eight inputs of a step; both powers of
    two, block_words at least 16 on a GPU. num_warps and num_stages as Triton means them.
    """

    block_n: int
    block_words: int
    num_warps: int
    num_stages: int


@dataclass(frozen=True)
class Int4Config:
    """block_m: rows of one expert that share a program, a power of two of at least 16."""

    block_m: int
    gate_up: Tile
    down: Tile


@dataclass(frozen=True)
class ExpertsShape:
    """What the tile sizes depend on beside the number of tokens."""

    num_local_experts: int
    hidden_size: int
    moe_intermediate_size: int

    @classmethod
    def of(cls, experts: Int4Experts) -> "ExpertsShape":
        """Return the shape of these experts."""
        return cls(experts.num_local_experts, experts.hidden_size, experts.moe_intermediate_size)

    def __str__(self) -> str:
        return f"{self.num_local_experts}x{self.hidden_size}x{self.moe_intermediate_size}"


def find_config(
    device: torch.device, experts: Int4Experts, num_tokens: int, num_rows: int
) -> Int4Config:
    """Return the tile sizes for a call.

    num_tokens: rows of topk_ids, what the files are keyed by; num_rows: the (token, slot) pairs,
    or rows, that may be computed, what the default goes by.
    """
    if device.type != "cuda":
        return default_config(num_rows / experts.num_local_experts, (0, 0))
    measured = measured_configs(torch.cuda.get_device_name(device), str(ExpertsShape.of(experts)))
    if measured:
        return measured[nearest_bucket(tuple(measured), num_tokens)]
    rows_per_expert = num_rows / experts.num_local_experts
    return default_config(rows_per_expert, torch.cuda.get_device_capability(device))


def default_config(rows_per_expert: float, capability: tuple[int, int]) -> Int4Config:
    """Return tile sizes where none were measured: reasoned, never timed.

    Blocks of 16 rows while an expert has few, larger ones as the weights are shared by more. From
    64 weight rows on Triton would use Blackwell's tensor memory, where its products of the eight
    nibbles take an accumulator each and soon do not fit (Triton 3.8 then emits a trap): 32 there.
    """
    block_m = 16 if rows_per_expert <= 16 else 32 if rows_per_expert <= 48 else 64
    block_n = 32 if capability >= BLACKWELL else 64
    tile = Tile(block_n, block_words=32, num_warps=4, num_stages=3 if block_m <= 32 else 2)
    return Int4Config(block_m, gate_up=tile, down=tile)


def nearest_bucket(buckets: Sequence[int], num_tokens: int) -> int:
    """Return the smallest bucket that holds the tokens, or the largest there is."""
    return min((b for b in buckets if b >= num_tokens), default=max(buckets))


@functools.cache
def measured_configs(device_name: str, shape: str) -> Mapping[int, Int4Config]:
    """Return the configs of a device and shape by number of tokens; empty where none were measured.

    Raises ValueError naming the file that is no such file.
    """
    for folder in (user_folder(), PACKAGED):
        path = folder / file_name(device_name)
        if not path.is_file():
            continue
        configs = read_configs(path).get(shape)
        if configs:
            logger.info("INT4 experts %s: tile sizes of %s", shape, path)
            return configs
    logger.info("INT4 experts %s: default tile sizes, none measured on %s", shape, device_name)
    return {}


def read_configs(path: Path) -> dict[str, dict[int, Int4Config]]:
    """Return the configs of one file by shape and number of tokens; ValueError naming the file."""
    try:
        shapes = json.loads(path.read_text(encoding="utf-8"))["shapes"]
        return {
            shape: {int(tokens): _config(entry) for tokens, entry in entries.items()}
            for shape, entries in shapes.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: want tile sizes as `sglang-kimi tune int4` writes them, got {error!r}; "
            "remove the file or tune again"
        ) from error


def write_configs(
    path: Path, device_name: str, triton: str, shape: str, entries: Mapping[int, dict[str, Any]]
) -> None:
    """Add or replace one shape in a device's file; other shapes stay.

    entries: by number of tokens, as `config_entry` gives them.
    """
    found: dict[str, Any] = {"shapes": {}}
    if path.is_file():
        read_configs(path)
        found = json.loads(path.read_text(encoding="utf-8"))
    found |= {"device": device_name, "triton": triton}
    found["shapes"][shape] = {str(tokens): entries[tokens] for tokens in sorted(entries)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def config_entry(config: Int4Config, microseconds: float) -> dict[str, Any]:
    """Return a config as it stands in a file, with the time it took."""
    return asdict(config) | {"us": round(microseconds, 1)}


def file_name(device_name: str) -> str:
    """Return the file's name for a device: small letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", device_name.lower()).strip("_") + ".json"


def user_folder() -> Path:
    """Return where tuned files of this user lie."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "sglang-kimi" / "int4-configs"


def _config(entry: Mapping[str, Any]) -> Int4Config:
    return Int4Config(
        block_m=int(entry["block_m"]),
        gate_up=Tile(**entry["gate_up"]),
        down=Tile(**entry["down"]),
    )
