"""Two ranks answer exactly as one does."""

import pytest

from .conftest import Client, running_server

PROMPTS = [
    [(seed * 991 + i * (7 + seed)) % 3800 for i in range(20 + 30 * seed)] for seed in range(4)
]


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [("--tp-size", "2"), ("--tp-size", "2", "--ep-size", "2")])
def test_two_ranks_give_the_same_greedy_tokens(client, mini_checkpoint, tmp_path, sizes):
    one_rank = [client.generate(prompt, 48)["output_ids"] for prompt in PROMPTS]
    log_path = tmp_path / "server.log"
    with running_server(mini_checkpoint, log_path, "--dtype", "float32", *sizes) as server:
        other = Client(server.url)
        two_ranks = [other.generate(prompt, 48)["output_ids"] for prompt in PROMPTS]
    assert two_ranks == one_rank
