"""A server of several ranks answers exactly as one of one rank does.

Which ranks exchange what is compared layout by layout, without a server, in
`tests/plugin/test_model_ranks.py`; here the schedulers take part.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from .conftest import Client, running_server

PROMPTS = [
    [(seed * 991 + i * (7 + seed)) % 3800 for i in range(20 + 30 * seed)] for seed in range(4)
]
LONG_PROMPT = [(7 * i * i + 3 * i) % 3800 for i in range(1500)]

LAYOUTS = {
    "expert parallel, attention data parallel, all-to-all": (
        *("--tp-size", "2", "--ep-size", "2", "--enable-dp-attention", "--dp-size", "2"),
        *("--moe-a2a-backend", "customized"),
    ),
    "four ranks, attention of pairs, all-reduce": (
        *("--tp-size", "4", "--ep-size", "4", "--enable-dp-attention", "--dp-size", "2"),
    ),
}


def answers(client: Client) -> dict[str, list[list[int]]]:
    """Return greedy tokens of requests one by one, all at once, and short beside long ones."""
    alone = [client.generate(prompt, 32)["output_ids"] for prompt in PROMPTS]

    def ask(prompt: list[int]) -> list[int]:
        return client.generate(prompt, 24)["output_ids"]  # type: ignore[no-any-return]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, [prompt[::-1] for prompt in PROMPTS] * 2))
        beside_long = list(pool.map(ask, [PROMPTS[1][:-1], LONG_PROMPT, PROMPTS[2][:-1]]))
    return {"alone": alone, "together": together, "beside a long one": beside_long}


@pytest.fixture(scope="module")
def one_rank(client):
    return answers(client)


@pytest.mark.slow
@pytest.mark.parametrize("flags", LAYOUTS.values(), ids=LAYOUTS)
def test_several_ranks_give_the_same_greedy_tokens(one_rank, mini_checkpoint, tmp_path, flags):
    log_path = tmp_path / "server.log"
    with running_server(mini_checkpoint, log_path, "--dtype", "float32", *flags) as server:
        assert answers(Client(server.url)) == one_rank
