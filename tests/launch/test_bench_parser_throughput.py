"""The part `throughput` of `bench parsers`: what it feeds, and when it misses."""

import json

import pytest

from sglang_kimi.launch.bench.parser_throughput import (
    COMPARED_SIZE,
    GROWTH_FROM_SIZE,
    Row,
    arguments_of,
    misses_of,
)


@pytest.mark.parametrize("size", [1024, 4096, 65536, 65537, 65539])
def test_arguments_have_the_size_and_are_json_without_a_marker(size: int) -> None:
    arguments = arguments_of(size)
    assert len(arguments) == size
    assert set(json.loads(arguments)) == {"path", "text"}
    assert "<|" not in arguments


def rows(*, small_s: float, large_s: float, stock_s: float) -> list[Row]:
    return [
        Row(GROWTH_FROM_SIZE, 1, small_s, small_s, stock_s / 16, 1.0),
        Row(COMPARED_SIZE, 1, large_s, large_s, stock_s, 1.0),
    ]


def test_linear_and_a_hundred_times_faster_is_no_miss() -> None:
    assert misses_of(rows(small_s=0.01, large_s=0.04, stock_s=4.1)) == []


def test_less_than_a_hundred_times_faster_is_a_miss() -> None:
    (miss,) = misses_of(rows(small_s=0.01, large_s=0.04, stock_s=3.9))
    assert "98x" in miss


def test_time_that_grows_faster_than_the_size_is_a_miss_for_each_front() -> None:
    misses = misses_of(rows(small_s=0.01, large_s=0.046, stock_s=10))
    assert len(misses) == 2
