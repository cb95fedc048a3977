"""The logit processor that forces an output: one id a step, whatever a chunk of the prompt does."""

from types import SimpleNamespace

import pytest
import torch
from sglang.srt.sampling.custom_logit_processor import CustomLogitProcessor

from sglang_kimi.launch.bench.scripted_agent import PROCESSOR
from sglang_kimi.scripted_output import ScriptedOutput

VOCAB_SIZE = 8


@pytest.fixture
def processor():
    return ScriptedOutput()


def request(script, num_prompt_tokens=3, num_prefilled_tokens=3):
    ids = list(range(num_prompt_tokens))
    req = SimpleNamespace(
        origin_input_ids=ids, full_untruncated_fill_ids=ids, extend_end=num_prefilled_tokens
    )
    return {"script": script, "__req__": req}


def step(processor, *params):
    """Return the forced id of each request."""
    logits = processor(torch.zeros(len(params), VOCAB_SIZE), list(params))
    assert (logits.isfinite().sum(dim=1) == 1).all()
    return logits.argmax(dim=1).tolist()


def test_each_request_gets_its_own_ids_in_order(processor):
    one, two = request([5, 6, 7]), request([1, 2])
    assert step(processor, one) == [5]
    assert step(processor, one, two) == [6, 1]
    assert step(processor, two, one) == [2, 7]


def test_the_last_id_repeats(processor):
    params = request([4, 3])
    assert [step(processor, params)[0] for _ in range(4)] == [4, 3, 3, 3]


def test_a_chunk_of_the_prompt_uses_no_id_up(processor):
    params = request([5, 6], num_prompt_tokens=9, num_prefilled_tokens=4)
    logits = processor(torch.zeros(1, VOCAB_SIZE), [params])
    assert logits.isfinite().all()
    params["__req__"].extend_end = 9
    assert step(processor, params) == [5]


def test_behind_the_script_the_model_is_free_where_the_request_says_so(processor):
    params = request([4]) | {"then_free": True}
    assert step(processor, params) == [4]
    assert processor(torch.zeros(1, VOCAB_SIZE), [params]).isfinite().all()


def test_an_id_that_the_mask_refuses_ends_the_script(processor):
    params = request([5, 6, 7])
    masked = torch.zeros(1, VOCAB_SIZE)
    masked[0, 5] = float("-inf")
    assert processor(masked, [params]).isfinite().sum() == VOCAB_SIZE - 1
    assert processor(torch.zeros(1, VOCAB_SIZE), [params]).isfinite().all()


def test_sglang_loads_it_from_what_the_benchmark_sends():
    assert isinstance(CustomLogitProcessor.from_str(PROCESSOR), ScriptedOutput)
