"""`--tokenizer-worker-num 2`: processes that load no plugin by themselves do all that one does."""

import json

import pytest

from .conftest import Client, running_server
from .test_ledger import assert_reused, cached_after, chat_body, echo_of, metrics_of
from .test_refusals import HEADER, post

CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "hi"}
NUM_REQUESTS = 12  # whichever of the two takes each


@pytest.mark.slow
def test_tokenizer_workers_share_a_ledger_that_goes_with_the_server_and_refuse_alike(
    mini_checkpoint, tmp_path
):
    flags = ("--tokenizer-worker-num", "2", "--enable-metrics")
    env = {"TMPDIR": str(tmp_path)}
    with running_server(mini_checkpoint, tmp_path / "log", *flags, env=env) as process:
        client = Client(process.url)
        seen = check_that_turns_are_found(client)
        check_that_refusals_are_alike(client)
        assert len(list(tmp_path.glob("sglang-kimi-*/ledger.sqlite"))) == 1
    assert (seen["ledger_hits_total"], seen["ledger_misses_total"]) == (NUM_REQUESTS, 0)
    assert seen["ledger_errors_total"] == 0
    assert not list(tmp_path.glob("sglang-kimi-*"))


def check_that_turns_are_found(client):
    """Return the metrics after as many turns, each found by the worker that got the next."""
    for number in range(NUM_REQUESTS):
        question = {"role": "user", "content": f"workers are asked {number}"}
        first = client.post(CHAT, chat_body(question))
        echo = echo_of(first["choices"][0]["message"])
        assert_reused(first["usage"], cached_after(client, question, echo, question))
    return metrics_of(client)


def check_that_refusals_are_alike(client):
    for _ in range(NUM_REQUESTS // 2):
        status, _, answer = post(client, CHAT, {"messages": [USER, 5]})
        assert (status, json.loads(answer)["error"]["param"]) == (400, "messages[1]")
        body = {"messages": [USER], "max_tokens": 1, "thinking": False}
        status, headers, _ = post(client, CHAT, body)
        assert (status, HEADER in headers) == (200, True)
