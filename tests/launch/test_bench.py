"""The benchmark's sessions are real conversations, and its tables say what was measured."""

import pytest

from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.bench import codec_cost, cost_table
from sglang_kimi.launch.bench.codec_cost import CostRow, SessionTotal
from sglang_kimi.launch.bench.prompt_process import OurStep, PromptProcess, StockStep, Times
from sglang_kimi.launch.bench.sessions import Session, many_tools
from sglang_kimi.launch.jsonlines import UsageError
from sglang_kimi.launch.server_process import ServerError


class FakeProcess:
    """Answers each step with times that follow from its number on its side."""

    def __init__(self, vocabulary):
        self.codec = PromptCodec(vocabulary)
        self.ours = []
        self.stock = []

    def time_ours(self, body, output_ids):
        self.ours.append({**body, "messages": [*body["messages"]]})
        num_tokens = len(self.codec.encode(body["messages"], body["tools"]))
        return OurStep(num_tokens, Times(1.0, 2.0, len(self.ours), 3.0), 0.5)

    def time_stock(self, body):
        self.stock.append({**body, "messages": [*body["messages"]]})
        return StockStep(Times(1.0, 2.0, 100.0 * len(self.stock), 3.0), 50.0 * len(self.stock))


@pytest.fixture
def process(mini_checkpoint):
    return FakeProcess(Vocabulary.load(mini_checkpoint))


@pytest.fixture
def new_session(mini_checkpoint):
    return lambda **fields: Session(Vocabulary.load(mini_checkpoint), **fields)


def test_a_sessions_answer_is_what_the_client_sends_back(mini_checkpoint):
    vocabulary = Vocabulary.load(mini_checkpoint)
    session = Session(vocabulary)
    answer = session.answer()
    session.go_on(50)
    prompt = PromptCodec(vocabulary).encode(session.messages, session.tools)
    assert vocabulary.decode(answer) in vocabulary.decode(prompt)


def test_each_row_is_of_new_turns_behind_a_history_of_its_size(process, new_session):
    rows = codec_cost.measure_prompts(process, new_session, [3000, 30_000])
    assert 3000 <= rows[0].num_tokens < 30_000 <= rows[1].num_tokens
    repeats = codec_cost.REPEATS
    assert rows[1].ours.build == len(process.ours) - repeats // 2  # the median of the last steps
    assert rows[1].stock.build == 100 * (2 * repeats - repeats // 2)
    assert rows[1].released_s == 1.5 * rows[1].stock.build


def test_both_sides_get_the_same_requests(process, new_session):
    codec_cost.measure_prompts(process, new_session, [3000, 9000])
    repeats = codec_cost.REPEATS
    assert process.stock[-repeats:] == process.ours[-repeats:]
    assert len(process.stock) == 2 * repeats
    codec_cost.measure_session(process, new_session, num_turns=3, num_chars=100)
    assert process.stock[-3:] == process.ours[-3:]


def test_a_session_is_built_at_every_turn(process, new_session):
    total = codec_cost.measure_session(process, new_session, num_turns=3, num_chars=100)
    assert (total.num_turns, total.ours_s, total.stock_s) == (3, 6.0, 600.0)
    assert total.released_s == 900.0
    lengths = [len(body["messages"]) for body in process.ours]
    assert lengths == [2, 4, 6]


def test_tools_are_all_different_and_declared(process, new_session):
    (row,) = codec_cost.measure_prompts(process, lambda: new_session(tools=many_tools(3)), [0])
    assert [tool["function"]["name"] for tool in process.ours[-1]["tools"]] == [
        "tool_0",
        "tool_1",
        "tool_2",
    ]
    assert row.num_tokens > len(str(many_tools(3))) / 8


def row(num_tokens, ours_s, released_s):
    return CostRow(num_tokens, Times(0, 0, ours_s, 0), Times(0, 0, 0, 0), released_s, 0)


def test_growth_is_counted_by_thousand_tokens():
    rows = [row(10_000, 0.001, 1), row(110_000, 0.003, 1)]
    assert codec_cost.growth_us_per_1k(rows) == pytest.approx(20)


@pytest.mark.parametrize(
    ("rows", "total", "missed"),
    [
        ([row(200_000, 0.001, 0.05)], (101_000, 1, 30), []),
        ([row(200_000, 0.001, 0.04)], (101_000, 1, 29), ["200,000 tokens: 40x", "session: 29x"]),
        ([row(16_000, 0.001, 0.01), row(216_000, 0.0051, 1)], (900, 1, 1), ["growth: 20.5 µs"]),
    ],
)
def test_what_is_below_its_target_is_named(rows, total, missed):
    lines = list(cost_table._misses(rows, SessionTotal(100, *total[:2], 0, total[2], 0)))
    assert [line.split(", want")[0] for line in lines] == [
        text if "growth" not in text else f"{text} per 1,000 tokens" for text in missed
    ]


def test_a_folder_without_a_config_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"config\.json"):
        PromptProcess(tmp_path)


def test_a_process_that_ends_is_told_with_its_last_words(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    process = PromptProcess(tmp_path)
    process._command = [process._command[0], "-c", "raise SystemExit('no such thing')"]
    with process, pytest.raises(ServerError, match="no such thing"):
        process.time_stock({})
