"""The usage's reasoning tokens end with the thinking, whatever ends it."""

import pytest
from sglang.srt.managers.schedule_batch import Req

from sglang_kimi.chat import reasoning_tokens
from sglang_kimi.codec.vocabulary import Vocabulary


@pytest.fixture
def vocabulary(mini_checkpoint, monkeypatch):
    vocabulary = Vocabulary.load(mini_checkpoint)
    monkeypatch.setattr(reasoning_tokens, "_section_begin", None)
    reasoning_tokens.serve(vocabulary)
    return vocabulary


def counted(vocabulary, pieces, step):
    """Feed SGLang's own count through our hook, `step` tokens at a time."""
    req = Req.__new__(Req)
    req._is_reasoning_over, req.reasoning_tokens = False, 0
    req._think_end_matcher, req._think_end_match_len = None, 0
    ids = [token for piece in pieces for token in vocabulary.encode(piece)]
    close = [vocabulary.control_id("</think>")]
    for start in range(0, len(ids), step):
        batch = ids[start : start + step]
        reasoning_tokens._count(
            Req.update_reasoning_tokens, req, batch[0] if step == 1 else batch, close
        )
    return req.reasoning_tokens


SECTION = ("<|tool_calls_section_begin|>", "<|tool_call_begin|>", "f", "</think>", "x")


@pytest.mark.parametrize("step", [1, 2, 3, 50])
@pytest.mark.parametrize(
    ("pieces", "number"),
    [
        (("a", "b", "</think>", "c", "d"), 3),
        (("a", "b", *SECTION), 2),
        (("a", "</think>", *SECTION), 2),
        (SECTION, 0),
        (("a", "b"), 2),
    ],
)
def test_reasoning_is_counted_up_to_its_end(vocabulary, pieces, number, step):
    assert counted(vocabulary, pieces, step) == number
