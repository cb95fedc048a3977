"""A small checkpoint with attention of the true width, served on the GPU by each backend.

bf16 weights are the same numbers on both sides; activations are bf16 here and float32 in the
reference, so log-probabilities differ by the rounding of four layers. TOLERANCE was never measured:
it is the bound under which a wrong mask, scale or expert cannot hide in this checkpoint.
"""

import random

import pytest
import torch

from sglang_kimi.launch.mini.writer import write_mini_checkpoint
from sglang_kimi.launch.server_process import ServerProcess

from ..reference.kimi_reference import KimiReference
from ..server.conftest import Client
from ..server.test_logits import as_vector

TOLERANCE = 0.25
START_TIMEOUT_S = 600.0
CHOICES = [
    ("fa3", "triton"),
    ("flashinfer", "triton"),
    ("kimi_mla", "triton"),
    ("kimi_mla", "marlin"),
]
"""(attention backend, SGLANG_KIMI_MOE_KERNEL)"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu") / "bench"
    write_mini_checkpoint(folder, geometry="bench")
    return folder


@pytest.fixture(scope="module")
def reference(checkpoint):
    return KimiReference(checkpoint)


@pytest.mark.parametrize(("attention", "experts"), CHOICES)
def test_log_probabilities_agree_with_the_reference(
    attention, experts, checkpoint, reference, tmp_path
):
    if attention == "fa3" and torch.cuda.get_device_capability()[0] != 9:
        pytest.skip("fa3 is for Hopper")
    size = reference.config["vocab_size"]
    prompt = random.Random(1).choices(range(size - 256), k=200)
    flags = ["--attention-backend", attention, "--mem-fraction-static", "0.5"]
    environment = {"SGLANG_KIMI_MOE_KERNEL": experts}
    with ServerProcess(checkpoint, flags, env=environment, log_path=tmp_path / "log") as server:
        server.wait_until_ready(START_TIMEOUT_S)
        client = Client(server.url)
        client.generate(prompt[:100], 1)  # a prefix for the next prompt to find
        answer = client.generate(
            prompt, 16, return_logprob=True, token_ids_logprob=list(range(size))
        )
    assert answer["meta_info"]["cached_tokens"] > 0
    rows = answer["meta_info"]["output_token_ids_logprobs"]
    found = torch.stack([as_vector(row) for row in rows])
    text = prompt + answer["output_ids"][:-1]
    expected = reference.logits(text).log_softmax(-1)[len(prompt) - 1 :]
    difference = (found - expected).abs().max().item()
    print(f"\n{attention}, {experts}: log-probabilities differ by {difference:.2e} at most")
    assert difference < TOLERANCE
