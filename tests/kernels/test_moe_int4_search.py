"""The search takes the fastest tile of each product, and the block_m with the best sum."""

import math

import pytest

from sglang_kimi.kernels.moe.int4_configs import Int4Config, Tile
from sglang_kimi.kernels.moe.int4_search import BLOCK_M, Product, candidate_tiles, search

TILES = candidate_tiles((9, 0))


def test_the_best_sum_wins_though_each_product_prefers_another_tile() -> None:
    gate_up, down = TILES[3], TILES[-1]

    def time_us(product: Product, block_m: int, tile: Tile) -> float:
        is_best = tile == (gate_up if product == "gate_up" else down)
        return (1.0 if is_best else 2.0) * (5.0 if block_m == 32 else 9.0)

    assert search(time_us, TILES) == (Int4Config(32, gate_up, down), 10.0)


def test_tiles_that_cannot_run_are_passed_over() -> None:
    def time_us(product: Product, block_m: int, tile: Tile) -> float:
        return 7.0 if (block_m, tile) == (64, TILES[1]) else math.inf

    assert search(time_us, TILES) == (Int4Config(64, TILES[1], TILES[1]), 14.0)


def test_a_block_m_of_which_one_product_never_runs_is_passed_over() -> None:
    def time_us(product: Product, block_m: int, tile: Tile) -> float:
        return math.inf if (product, block_m) == ("down", 16) else float(block_m)

    assert search(time_us, TILES)[0].block_m == 32


def test_nothing_that_runs_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"none of .* tile sizes runs"):
        search(lambda product, block_m, tile: math.inf, TILES)


def test_every_candidate_is_timed_once() -> None:
    timed = []

    def time_us(product: Product, block_m: int, tile: Tile) -> float:
        timed.append((product, block_m, tile))
        return 1.0

    search(time_us, TILES)
    assert len(timed) == len(set(timed)) == 2 * len(BLOCK_M) * len(TILES)


def test_blackwell_is_only_offered_tiles_outside_tensor_memory() -> None:
    assert {tile.block_n for tile in candidate_tiles((10, 0))} == {32}
    assert {tile.block_n for tile in TILES} == {32, 64, 128}
