"""The timing process builds the same prompt both ways, in SGLang's own handler."""

import pytest

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.bench.prompt_process import PromptProcess
from sglang_kimi.launch.bench.sessions import Session


@pytest.mark.slow
def test_a_session_is_timed_turn_by_turn(mini_checkpoint):
    session = Session(Vocabulary.load(mini_checkpoint))
    steps = []
    with PromptProcess(mini_checkpoint) as process:
        for _ in range(2):
            body = {"model": "m", "messages": session.messages, "tools": session.tools}
            steps.append((process.time_ours(body, session.answer()), process.time_stock(body)))
            session.go_on(100)
    assert steps[0][0].num_tokens < steps[1][0].num_tokens
    for times in (step.times for step in steps[1]):
        assert min(times.parse, times.check, times.build, times.rest) > 0
