"""What `bench peers` makes of the engines' answers: ratios, targets, greedy tokens."""

import json

import pytest

from sglang_kimi.launch.bench import peers_server_rows, peers_table
from sglang_kimi.launch.bench.peer_engine import Answer
from sglang_kimi.launch.bench.peer_server import PeerServer
from sglang_kimi.launch.bench.peer_work import DECODES
from sglang_kimi.launch.bench.peers_rows import IK, OURS, Row
from sglang_kimi.launch.cli import main
from sglang_kimi.launch.server_process import ServerError


class FakeEngine:
    """Takes so long for each step; the token at position i is i, but for a wrong one."""

    def __init__(self, step_s, wrong_at=None):
        self.step_s, self.wrong_at, self.seen = step_s, wrong_at, []

    def run(self, prompts, num_tokens):
        self.seen.append(prompts)
        ids = [-1 if i == self.wrong_at else i for i in range(num_tokens)]
        steps = [self.step_s] * (num_tokens - 1)
        return Answer(self.step_s, self.step_s * num_tokens, steps, [ids for _ in prompts])


class FakeServer:
    """Generates at a rate that depends on the number of requests."""

    def __init__(self, rates):
        self.rates = rates

    def generate(self, prompts, num_tokens):
        return self.rates.get(len(prompts), 1.0)

    def chat(self, num_requests, num_tokens, seed):
        return 5.0


def test_a_slower_engine_misses_the_rows_of_one_prompt_and_a_faster_one_none():
    slow, fast = FakeEngine(0.02), FakeEngine(0.01)
    _, misses = peers_table.show_steps({OURS: slow, IK: fast}, 2, 100, print)
    assert [line.split(":")[0] for line in misses] == [
        "decode step, 1",
        "prefill of 512",
        "prefill of 4,096",
    ]
    assert "0.50x" in misses[0]
    assert not peers_table.show_steps({OURS: fast, IK: slow}, 2, 100, print)[1]


def test_engines_meet_the_same_prompts_and_other_ones_in_each_round():
    engines = {OURS: FakeEngine(0.01), IK: FakeEngine(0.01)}
    peers_table.show_steps(engines, 2, 1000, print)
    seen = [str(prompts) for prompts in engines[OURS].seen]
    assert seen == [str(prompts) for prompts in engines[IK].seen]
    assert len(set(seen)) == len(seen)


def test_a_rows_ratio_is_the_median_of_its_rounds():
    seconds = Row("step", is_rate=False, target=1.0, ours=[1.0, 1.0, 9.0], theirs=[2.0, 3.0, 9.0])
    assert seconds.ratio == 2.0
    assert not seconds.misses
    rates = Row("server", is_rate=True, target=1.0, ours=[1.0, 1.0, 9.0], theirs=[2.0, 3.0, 9.0])
    assert rates.misses == ["server: 0.50x ik-llama, want 1.0x"]


@pytest.mark.parametrize(
    ("rates", "missed"),
    [
        ({1: 100.0, 8: 300.0, 32: 300.0}, []),
        ({1: 100.0, 8: 299.0, 32: 900.0}, ["8 requests"]),
        ({1: 10.0, 8: 99.0, 32: 99.0}, ["server, 8 requests"]),
    ],
)
def test_eight_requests_are_held_against_one_request_and_against_the_peer(rates, missed):
    peer = FakeEngine(8 / 100.0)  # 100 tokens/s of eight prompts at once
    misses = peers_server_rows.show_requests(FakeServer(rates), peer, 2, 100, print)
    assert [line.split(":")[0] for line in misses] == missed


@pytest.mark.parametrize(("wrong_at", "missed"), [(None, 0), (5, 1)])
def test_the_first_token_that_differs_ends_the_count(wrong_at, missed):
    lines = []
    ours, oracle = FakeEngine(0.01, wrong_at), FakeEngine(0.01)
    misses = peers_table.show_greedy(ours, oracle, 100, lines.append)
    assert len(misses) == missed
    assert f"the first {64 if wrong_at is None else wrong_at} of 64" in lines[0]


def test_overhead_is_the_step_without_the_forward_and_has_a_limit(tmp_path):
    server = PeerServer(tmp_path, 1, tmp_path, tmp_path / "server.log")
    rows = [
        {"mode": "decode", "batch": work, "step": 0.020 + overhead + extra, "forward": 0.020}
        for work, overhead in ((1, 0.002), (8, 0.011), (32, 0.003))
        for extra in (0.0, 0.001, 0.5)
    ]
    rows += [{"mode": "extend", "batch": 8, "step": 9.0, "forward": 1.0}]
    (tmp_path / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert server.steps(8).overhead == pytest.approx(0.012)
    with pytest.raises(ServerError, match="no decode step of 5 requests"):
        server.steps(5)
    bare_s = {work.num_prompts: 0.02 for work in DECODES}
    misses = peers_server_rows.show_profile(server, bare_s, print)
    assert misses == ["server's overhead, 8 at once: 12.0 ms a step, want at most 10"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "argument --rounds: want a whole number above 0, got '0'"),
        (["--threads", "two"], "argument --threads: want a whole number above 0, got 'two'"),
    ],
)
def test_a_count_that_is_none_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main(["bench", "peers", *arguments])
    assert message in capsys.readouterr().err


def test_a_folder_without_a_checkpoint_is_refused(tmp_path, capsys):
    assert main(["bench", "peers", "--checkpoint", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"bench: --checkpoint {tmp_path}: no config.json there\n"
