"""Search for tile sizes: what is tried, and how the fastest is chosen. Knows no GPU.

The two matrix products share only `block_m`, so each finds its best tile alone for every block_m,
and the best sum of both wins.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Final, Literal

from .int4_configs import BLACKWELL, Int4Config, Tile

Product = Literal["gate_up", "down"]
Timer = Callable[[Product, int, Tile], float]
"""Return the microseconds of one product with block_m and a tile, infinity where it cannot run."""

BLOCK_M: Final = (16, 32, 64)
_BLOCK_N: Final = (32, 64, 128)
_BLOCK_WORDS: Final = (16, 32, 64)
_WARPS: Final = (4, 8)
_STAGES: Final = (2, 3, 4)
_LARGEST_TILE: Final = 128 * 32  # words; more would not leave registers for the products


def candidate_tiles(capability: tuple[int, int]) -> list[Tile]:
    """Return the tiles worth trying on a GPU of this compute capability.

    On Blackwell only those that stay out of tensor memory, see `int4_configs.default_config`.
    """
    widths = _BLOCK_N[:1] if capability >= BLACKWELL else _BLOCK_N
    return [
        Tile(*sizes)
        for sizes in itertools.product(widths, _BLOCK_WORDS, _WARPS, _STAGES)
        if sizes[0] * sizes[1] <= _LARGEST_TILE
    ]


def search(time_us: Timer, tiles: Sequence[Tile]) -> tuple[Int4Config, float]:
    """Return the fastest config and its microseconds; RuntimeError if none runs."""
    best: tuple[float, Int4Config] | None = None
    for block_m in BLOCK_M:
        gate_up_us, gate_up = _fastest(time_us, "gate_up", block_m, tiles)
        down_us, down = _fastest(time_us, "down", block_m, tiles)
        total_us = gate_up_us + down_us
        if math.isfinite(total_us) and (best is None or total_us < best[0]):
            best = total_us, Int4Config(block_m, gate_up, down)
    if best is None:
        raise RuntimeError(f"none of {len(tiles)} tile sizes runs on this GPU")
    return best[1], best[0]


def _fastest(
    time_us: Timer, product: Product, block_m: int, tiles: Sequence[Tile]
) -> tuple[float, Tile]:
    times = [(time_us(product, block_m, tile), number) for number, tile in enumerate(tiles)]
    fastest_us, number = min(times)
    return fastest_us, tiles[number]
