"""Text is text through every endpoint of a server whose ledger is on."""

import json
import urllib.request

import pytest

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.bench.injection_server import through_server

NUM_ROUNDS = 48


@pytest.fixture(scope="module")
def model(client):
    """Return the served name: `/v1/responses` refuses any other."""
    with urllib.request.urlopen(f"{client.url}/v1/models", timeout=30) as response:
        return json.load(response)["data"][0]["id"]


def test_no_text_in_any_field_of_any_api_gives_a_control_token(client, model, mini_checkpoint):
    vocabulary = Vocabulary.load(mini_checkpoint)
    tallies = list(through_server(client.try_post, model, vocabulary, NUM_ROUNDS))
    print([(tally.way, tally.num_cases, len(tally.faults)) for tally in tallies])
    assert [fault for tally in tallies for fault in tally.faults] == []
    assert sum(tally.num_cases for tally in tallies) > 5000
    assert all(tally.num_cases > 1000 for tally in tallies)
