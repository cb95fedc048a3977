"""Scripted turns on a real server: the model says what it was told, and the cache has all of it."""

import pytest

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.bench.prompt_ids import RETURN_IDS, prompt_ids_of
from sglang_kimi.launch.bench.reuse_figures import new_tokens, reuse_of
from sglang_kimi.launch.bench.reuse_rows import ROWS
from sglang_kimi.launch.bench.scripted_agent import open_client, say
from sglang_kimi.launch.bench.scripted_loops import Loop, run_loops
from sglang_kimi.launch.bench.thinking_part import cases

NAMES = (
    "mixed; as kimi-code",
    "exact; drops reasoning",
    "1 token in 60 split; as is",
    "arguments cut by max_tokens; as is",
)


@pytest.fixture(scope="module")
def url(scripted_server):
    return scripted_server.url


@pytest.fixture(scope="module")
def vocabulary(mini_checkpoint):
    return Vocabulary.load(mini_checkpoint)


@pytest.fixture(scope="module")
def sdk(url):
    return open_client(url)


@pytest.mark.slow
def test_loops_are_reused_whole_at_every_turn(url, vocabulary):
    rows = [row for row in ROWS if row.name in NAMES]
    usages = run_loops(vocabulary, [Loop(url, row, 4) for row in rows])
    assert len(usages) == len(NAMES)
    for row, loop in zip(rows, usages, strict=True):
        assert reuse_of(loop, new_tokens(loop)).is_full, row.name


@pytest.mark.slow
def test_the_model_says_the_script_behind_a_prompt_of_several_chunks(sdk, vocabulary):
    script = vocabulary.encode("Thought.</think>Said in order: 1, 2, 3.<|im_end|>")
    question = {"role": "user", "content": "word " * 5000}  # 2048 tokens are one chunk
    answer = say(sdk, [question], script, extra_body=RETURN_IDS)
    message = answer.choices[0].message
    assert (message.reasoning_content, message.content) == ("Thought.", "Said in order: 1, 2, 3.")
    assert len(prompt_ids_of(answer)) > 4096


@pytest.mark.slow
def test_earlier_thinking_stands_in_the_prompt_in_every_way(sdk, vocabulary):
    assert [found for _, found in cases(sdk, vocabulary)] == [True, True, True]
