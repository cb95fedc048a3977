"""The reuse table: its arithmetic, its scripts, its clients; no server is started."""

import ast
import json
import pickletools
import random
from pathlib import Path

import openai
import pytest

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.bench import clients, pages_part, reuse_part, scripts
from sglang_kimi.launch.bench.loops_part import SecretAgent, report
from sglang_kimi.launch.bench.reuse_figures import Usage, new_tokens, reuse_of
from sglang_kimi.launch.bench.reuse_rows import EXACT, LOOPS, ROWS
from sglang_kimi.launch.bench.scripted_agent import PROCESSOR, ScriptedAgent, ScriptError
from sglang_kimi.launch.bench.scripts import Scene
from sglang_kimi.launch.bench.thinking_part import cases

from .scripted_server import ScriptedServer

ROOT = Path(__file__).resolve().parent.parent.parent
SHOWN = {
    "role": "assistant",
    "content": "\n\n",
    "reasoning_content": "\nthink ",
    "tool_calls": [
        {
            "id": "functions.Bash:0",
            "type": "function",
            "function": {"name": "Bash", "arguments": '{"a": 30.0, "b": "é"}'},
        }
    ],
}


@pytest.fixture(scope="module")
def vocabulary(mini_checkpoint):
    return Vocabulary.load(mini_checkpoint)


def scene(number=0, num_calls=0):
    return Scene(number, num_calls, random.Random(number))


class TestFigures:
    def test_a_loop_that_found_all_is_full(self):
        usages = [Usage(100, 20, 0), Usage(150, 20, 119), Usage(200, 20, 170)]
        reuse = reuse_of(usages, new_tokens(usages))
        assert (reuse.all, reuse.own, reuse.prefill) == (1.0, 1.0, 1.0)
        assert reuse.is_full and reuse.num_turns == 2

    def test_what_is_missing_lowers_every_figure(self):
        usages = [Usage(100, 21, 0), Usage(150, 21, 110)]
        reuse = reuse_of(usages, [30])
        assert reuse.all == 110 / 120
        assert reuse.own == 10 / 20
        assert reuse.prefill == 40 / 30
        assert not reuse.is_full and reuse.full_hits == 0

    def test_a_lost_prompt_does_not_count_against_the_output_twice(self):
        assert reuse_of([Usage(100, 21, 0), Usage(150, 21, 60)], [30]).own == 0.0

    def test_the_minimum_is_what_stands_behind_prompt_and_output(self):
        assert new_tokens([Usage(100, 21, 0), Usage(150, 21, 0), Usage(180, 1, 0)]) == [30, 10]

    def test_a_share_just_below_one_is_not_written_as_one(self):
        usages = [Usage(100_000, 20, 0), Usage(100_100, 20, 100_018)]
        figures = [(reuse_of(usages, new_tokens(usages)),) * 2] * len(ROWS)
        line = reuse_part.written(figures).splitlines()[3]
        assert "  99.9 " in line and "0/1" in line and "100.0" not in line

    def test_a_row_that_stock_ran_for_fewer_turns_has_no_figures_of_stock(self):
        usages = [Usage(100, 20, 0), Usage(150, 20, 119), Usage(200, 20, 170)]
        assert reuse_part.figures_of(usages, usages[:2], 2)[1] is not None
        figures = reuse_part.figures_of(usages, usages[:2], 3)
        assert figures[1] is None
        assert reuse_part.written([figures] * len(ROWS)).count(" 2/2") == len(ROWS)

    def test_the_loss_in_pages_is_what_was_reusable_and_not_cached(self):
        usages = [Usage(100, 21, 0), Usage(150, 21, 64), Usage(200, 20, 171)]
        assert pages_part.losses_of(usages) == [56, 0]


class TestScripts:
    def test_every_row_has_a_name_of_its_own(self):
        assert len({row.name for row in ROWS}) == len(ROWS)

    def test_a_split_token_changes_ids_and_not_the_text(self, vocabulary):
        for mangle in (scripts.split_early, scripts.split_every(20)):
            script = scripts.Script(EXACT.write, mangle)
            whole = EXACT.token_ids(vocabulary, scene())
            split = script.token_ids(vocabulary, scene())
            assert split != whole and vocabulary.decode(split) == vocabulary.decode(whole)
            assert vocabulary.encode(vocabulary.decode(split)) == whole

    def test_one_token_in_so_many_is_split_over_the_turns(self, vocabulary):
        script = scripts.Script(EXACT.write, scripts.split_every(60))
        numbers = range(30)
        whole = sum(len(EXACT.token_ids(vocabulary, scene(n))) for n in numbers)
        split = sum(len(script.token_ids(vocabulary, scene(n))) for n in numbers)
        assert 0.6 * whole / 60 <= split - whole <= 1.4 * whole / 60

    def test_a_cut_turn_lacks_its_end(self, vocabulary):
        end = vocabulary.control_id("<|im_end|>")
        for row in ROWS:
            ids = row.script.token_ids(vocabulary, scene())
            assert (ids[-1] == end) is not row.script.is_cut, row.name

    def test_every_way_of_writing_is_another(self, vocabulary):
        texts = {row.output: row.script.token_ids(vocabulary, scene(3, 5)) for row in ROWS}
        del texts["mixed"], texts["1 token in 60 split"]  # by chance and place like another
        assert len({tuple(ids) for ids in texts.values()}) == len(texts)


class TestClients:
    def test_trimmed_and_null(self):
        sent = clients.trims(SHOWN, 0)
        assert sent["content"] is None and sent["reasoning_content"] == "think"

    def test_the_thinking_goes_away_or_under_the_other_name(self):
        assert "reasoning_content" not in clients.drops_reasoning(SHOWN, 0)
        sent = clients.sends_reasoning(SHOWN, 0)
        assert sent["reasoning"] == "\nthink " and "reasoning_content" not in sent

    def test_javascript_writes_whole_floats_without_fraction(self):
        function = clients.in_javascript(SHOWN, 0)["tool_calls"][0]["function"]
        assert function["arguments"] == '{"a":30,"b":"é"}'

    def test_arguments_that_do_not_parse_stay(self):
        broken = json.loads(json.dumps(SHOWN))
        broken["tool_calls"][0]["function"]["arguments"] = '{"a": '
        assert clients.in_javascript(broken, 0) == broken

    def test_renamed_ids_are_unique_over_the_turns(self):
        rename = clients.renames_calls(lambda _, n: f"call_{n}")
        ids = {rename(SHOWN, turn)["tool_calls"][0]["id"] for turn in range(3)}
        assert len(ids) == 3
        assert clients.sanitizes_ids(SHOWN, 0)["tool_calls"][0]["id"] == "functions_Bash_0"

    def test_parts_hold_the_whole_text(self):
        message = {"content": "one two three"}
        for num_parts in (1, 2):
            parts = clients.in_parts(num_parts)(message, 0)["content"]
            assert len(parts) == num_parts
            assert "".join(part["text"] for part in parts) == "one two three"

    def test_as_kimi_code_sends(self):
        sent = clients.like_kimi_code({**SHOWN, "content": "", "reasoning": "think"}, 0)
        assert "content" not in sent and "reasoning" not in sent
        assert sent["tool_calls"][0]["id"] == "functions_Bash_0"


class TestLoops:
    @pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
    def test_the_encoder_puts_every_turn_back_as_it_was_generated(self, vocabulary, row):
        agent = ScriptedAgent(ScriptedServer(vocabulary), vocabulary, row)
        for _ in range(6):
            agent.take_turn()
        assert reuse_of(agent.usages, new_tokens(agent.usages)).is_full

    def test_without_a_ledger_the_table_shows_what_is_lost(self, vocabulary):
        servers = [ScriptedServer(vocabulary, remembers=remembers) for remembers in (True, False)]
        figures = {}
        for row in LOOPS:
            agents = [ScriptedAgent(server, vocabulary, row) for server in servers]
            for agent in agents:
                for _ in range(4):
                    agent.take_turn()
            figures[row.name] = reuse_part.figures_of(*(agent.usages for agent in agents), 4)
        for name in ("exact; drops reasoning", "1 token in 60 split; as is"):
            ours, stock = figures[name]
            assert ours.is_full and stock.full_hits < 3 and stock.prefill > 1.2
        assert figures["exact; drops reasoning"][1].own == 0.0

    def test_an_output_of_another_length_is_an_error(self, vocabulary):
        server = ScriptedServer(vocabulary)
        create = server.chat.completions.create

        def short(**fields):
            answer = create(**fields)
            answer.usage.completion_tokens -= 1
            return answer

        server.chat.completions.create = short
        with pytest.raises(ScriptError, match="scripted tokens"):
            ScriptedAgent(server, vocabulary, ROWS[0]).take_turn()

    def test_a_refusal_is_told_as_the_server_said_it(self, vocabulary):
        server = ScriptedServer(vocabulary)

        def refuse(**fields):
            raise openai.OpenAIError("no such model")

        server.chat.completions.create = refuse
        with pytest.raises(ScriptError, match="OpenAIError: no such model"):
            ScriptedAgent(server, vocabulary, ROWS[0]).take_turn()

    def test_the_demo_of_thinking_needs_the_ledger_where_the_client_sends_none(self, vocabulary):
        assert [found for _, found in cases(ScriptedServer(vocabulary), vocabulary)] == [True] * 3
        forgetful = ScriptedServer(vocabulary, remembers=False)
        assert [found for _, found in cases(forgetful, vocabulary)] == [True, True, False]

    def test_a_crossed_and_a_lost_thought_are_misses(self, vocabulary, capsys):
        agents = [SecretAgent(n, ScriptedServer(vocabulary), vocabulary, f"c{n}") for n in (0, 1)]
        for agent in agents:
            for _ in range(2):
                agent.take_turn()
        assert report(agents, has_hints=True, ambiguous=0) == []
        agents[0].prompts[1], agents[1].prompts[1] = agents[1].prompts[1], "nothing"
        misses = report(agents, has_hints=True, ambiguous=0)
        assert len(misses) == 2 and "another's" in misses[0] and "lack" in misses[1]
        assert report(agents[1:], has_hints=False, ambiguous=0)  # nobody was seen to be in doubt


def test_the_processor_is_a_reference_to_a_class_that_is_there():
    pickled = bytes.fromhex(json.loads(PROCESSOR)["callable"])
    names = [argument for code, argument, _ in pickletools.genops(pickled) if code.name == "GLOBAL"]
    module, _, name = names[0].partition(" ")
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    assert name in [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
