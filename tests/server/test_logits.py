"""The served model computes what an independent float32 reference computes.

Log-probabilities of the whole vocabulary are compared; the differences are printed (pytest -s).
"""

import random

import pytest
import torch

from ..reference.kimi_reference import KimiReference

# Both sides are float32 and differ by the order of sums alone; seen: 1e-5 at most.
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def reference(mini_checkpoint):
    return KimiReference(mini_checkpoint)


@pytest.fixture(scope="module")
def vocabulary(reference):
    return list(range(reference.config["vocab_size"]))


def random_prompt(vocabulary, num_tokens, seed):
    return random.Random(seed).choices(vocabulary[:-256], k=num_tokens)


def as_vector(pairs):
    """[(logprob, token id, text)] of all ids, in any order -> logprobs by id."""
    return torch.tensor([logprob for logprob, _, _ in sorted(pairs, key=lambda pair: pair[1])])


def compare(found, expected, what):
    """Print and check the largest difference and the share of equal top-1 tokens."""
    difference = (found - expected).abs().max().item()
    agreement = (found.argmax(-1) == expected.argmax(-1)).float().mean().item()
    print(f"\n{what}: max difference {difference:.2e}, top-1 agreement {agreement:.1%}")
    assert difference < TOLERANCE
    assert agreement == 1.0


def test_prefill_agrees_at_every_position(client, reference, vocabulary):
    prompt = random_prompt(vocabulary, 90, seed=1)
    answer = client.generate(
        prompt, 1, return_logprob=True, logprob_start_len=0, token_ids_logprob=vocabulary
    )
    rows = answer["meta_info"]["input_token_ids_logprobs"]
    found = torch.stack([as_vector(row) for row in rows if row])
    expected = reference.logits(prompt).log_softmax(-1)[: len(found)]
    assert len(found) >= len(prompt) - 1
    compare(found, expected, f"prefill of {len(prompt)} tokens")


def test_decode_agrees_at_every_step(client, reference, vocabulary):
    prompt = random_prompt(vocabulary, 40, seed=2)
    answer = client.generate(prompt, 24, return_logprob=True, token_ids_logprob=vocabulary)
    rows = answer["meta_info"]["output_token_ids_logprobs"]
    found = torch.stack([as_vector(row) for row in rows])
    text = prompt + answer["output_ids"][:-1]
    expected = reference.logits(text).log_softmax(-1)[len(prompt) - 1 :]
    compare(found, expected, f"decode of {len(rows)} tokens")


def test_a_prompt_with_a_cached_prefix_agrees(client, reference, vocabulary):
    prefix = random_prompt(vocabulary, 64, seed=3)
    prompt = prefix + random_prompt(vocabulary, 33, seed=4)
    client.generate(prefix, 1)
    answer = client.generate(prompt, 1, return_logprob=True, token_ids_logprob=vocabulary)
    cached_tokens = answer["meta_info"]["cached_tokens"]
    assert 0 < cached_tokens <= len(prefix)
    found = as_vector(answer["meta_info"]["output_token_ids_logprobs"][0])[None]
    expected = reference.logits(prompt).log_softmax(-1)[-1:]
    compare(found, expected, f"prompt of {len(prompt)} tokens, {cached_tokens} from the cache")
