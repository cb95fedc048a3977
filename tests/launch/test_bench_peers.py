"""What `bench peers` makes of the engines' answers: ratios, targets, greedy tokens."""

import json

import pytest

from sglang_kimi.launch.bench import peers_table
from sglang_kimi.launch.bench.peer_engine import Answer
from sglang_kimi.launch.bench.peer_server import PeerServer
from sglang_kimi.launch.bench.peers_table import DECODE, IK, OURS


class FakeEngine:
    """Takes so long for each step; the token at position i is i, but for a wrong one."""

    def __init__(self, step_s, wrong_at=None):
        self.step_s, self.wrong_at, self.seen = step_s, wrong_at, []

    def run(self, prompts, num_tokens):
        self.seen.append(prompts)
        ids = [-1 if i == self.wrong_at else i for i in range(num_tokens)]
        steps = [self.step_s] * (num_tokens - 1)
        return Answer(self.step_s, self.step_s * num_tokens, steps, [ids for _ in prompts])


def test_a_slower_engine_misses_every_row_and_a_faster_one_none(capsys):
    slow, fast = FakeEngine(0.02), FakeEngine(0.01)
    misses = peers_table._steps({OURS: slow, IK: fast}, 2, 100, print)
    assert [line.split(":")[0] for line in misses] == [
        "decode step",
        "prefill of 512",
        "prefill of 4,096",
    ]
    assert "0.50x" in misses[0]
    assert not peers_table._steps({OURS: fast, IK: slow}, 2, 100, print)


def test_engines_meet_the_same_prompts_and_other_ones_in_each_round():
    engines = {OURS: FakeEngine(0.01), IK: FakeEngine(0.01)}
    answers = list(peers_table._interleaved(engines, DECODE, 2, 1000))
    assert [name for name, _ in answers] == [OURS, IK, OURS, IK]  # the first round warms up
    assert engines[OURS].seen == engines[IK].seen
    assert len({str(prompts) for prompts in engines[OURS].seen}) == 3


@pytest.mark.parametrize(("wrong_at", "missed"), [(None, 0), (5, 1)])
def test_the_first_token_that_differs_ends_the_count(wrong_at, missed):
    lines = []
    ours, oracle = FakeEngine(0.01, wrong_at), FakeEngine(0.01)
    misses = peers_table._greedy(ours, oracle, 100, lines.append)
    assert len(misses) == missed
    assert f"the first {64 if wrong_at is None else wrong_at} of 64" in lines[0]


def test_overhead_is_the_step_without_the_forward(tmp_path):
    server = PeerServer(tmp_path, 1, tmp_path)
    rows = [
        {"mode": "decode", "batch": 8, "step": 0.030 + extra, "forward": 0.020}
        for extra in (0.0, 0.001, 0.5)
    ]
    rows += [{"mode": "extend", "batch": 8, "step": 9.0, "forward": 1.0}]
    (tmp_path / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert server.steps(8).overhead == pytest.approx(0.011)
