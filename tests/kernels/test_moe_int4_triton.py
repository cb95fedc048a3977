"""The Triton INT4 kernels under Triton's interpreter against float64, over odd shapes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.json_process import JsonProcess

PROGRAM = Path(__file__).with_name("interpreted_int4.py")

# Rounded to bf16 five times: the weights of both matrices (code * scale), the activation between
# them, a pair's output and the sum, each by up to 2^-9 of the value. Largest over all shapes below:
# 7.9e-3 of the largest output, 5.4e-3 in the norm, which torch has with bf16 matrices, too.
MAX_ERROR = 1.2e-2
NORM_ERROR = 8e-3

Shape = tuple[int, int, int, int, int]

QUICK: list[tuple[Shape, str]] = [  # tokens, hidden, intermediate, experts, top-k; routing
    ((1, 96, 32, 4, 2), "random"),
    ((5, 32, 160, 3, 3), "holes"),
    ((17, 64, 96, 2, 1), "one"),
    ((3, 64, 32, 4, 2), "none"),
]
TILES = [(16, 32, 8), (16, 128, 32), (32, 64, 32), (64, 64, 16)]  # block_m, block_n, block_words


def long_list() -> list[tuple[Shape, str, tuple[int, int, int]]]:
    """Return forty more: counts of tokens and experts in turn, widths of odd multiples of 32."""
    tokens = (1, 2, 7, 16, 31, 33, 64, 129)
    widths = ((32, 32), (96, 64), (160, 32), (64, 224), (288, 96))
    routings = ("random", "holes", "random", "one")
    cases = []
    for number in range(40):
        num_experts = 1 + number % 8
        top_k = 1 + (number * 3) % num_experts
        hidden, inter = widths[number % 5]
        shape = (tokens[(number * 5) % 8], hidden, inter, num_experts, top_k)
        tile = TILES[number % 4] if shape[0] * top_k <= 8 else TILES[3]
        cases.append((shape, routings[number % 4], tile))
    return cases


@pytest.fixture(scope="module")
def interpreter() -> Iterator[JsonProcess]:
    with JsonProcess(PROGRAM) as process:
        yield process


def assert_within(error: dict[str, float]) -> None:
    assert error["max"] <= MAX_ERROR
    assert error["norm"] <= NORM_ERROR


@pytest.mark.parametrize(("shape", "routing"), QUICK)
def test_equals_float64_within_the_rounding_of_bf16(
    shape: Shape, routing: str, interpreter: JsonProcess
) -> None:
    assert_within(interpreter.ask("routed", shape, routing))


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "routing", "tile"), long_list())
def test_equals_float64_for_every_shape_routing_and_tile(
    shape: Shape, routing: str, tile: tuple[int, int, int], interpreter: JsonProcess
) -> None:
    assert_within(interpreter.ask("routed", shape, routing, tile))


@pytest.mark.parametrize("num_rows", [[3, 0, 20], [1]], ids=str)
def test_a_table_of_rows_an_expert_is_worked_off_without_its_unfilled_rows(
    num_rows: list[int], interpreter: JsonProcess
) -> None:
    assert_within(interpreter.ask("masked", num_rows, 24, 96, 32, TILES[0]))


def test_the_long_list_holds_forty_different_shapes() -> None:
    shapes = [shape for shape, _, _ in long_list()]
    assert len(set(shapes)) >= 40
