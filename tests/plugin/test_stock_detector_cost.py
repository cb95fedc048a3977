"""The timing process reads a text with SGLang's own detector, in pieces, up to a limit."""

import pytest

from sglang_kimi.launch.bench.parser_throughput import StockDetector


@pytest.mark.slow
def test_a_text_is_read_to_its_end_and_its_time_given() -> None:
    with StockDetector() as stock:
        text = "x" * 10_001
        seconds, num_chars = stock.time(text)
    assert num_chars == len(text)
    assert 0 < seconds < 30
