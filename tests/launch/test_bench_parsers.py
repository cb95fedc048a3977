"""The parts `schemas` and `good-output` of `bench parsers`: what they ask, what they judge."""

import json
from itertools import combinations
from types import SimpleNamespace

import pytest
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.bench import call_table, chat_answers, good_part
from sglang_kimi.launch.bench.call_checks import argument_fault
from sglang_kimi.launch.bench.chat_answers import AnsweredCall, ChatAnswer
from sglang_kimi.launch.bench.good_outputs import GoodOutput, good_outputs
from sglang_kimi.launch.bench.mask_walk import shown, walk
from sglang_kimi.launch.bench.schema_facts import facts_of
from sglang_kimi.launch.bench.schema_shapes import SHAPES
from sglang_kimi.launch.bench.tool_requests import CHOICES, ToolRequest, shape_of, shape_requests
from sglang_kimi.launch.bench.walle_requests import read_schemas, walle_requests
from sglang_kimi.launch.cli import main
from sglang_kimi.parsers.grammars.compiler import GrammarCompiler

WHOLE = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
UNIQUE = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}


@pytest.fixture(scope="module")
def vocabulary(mini_checkpoint):
    return Vocabulary.load(mini_checkpoint)


class TestRequests:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_each_shape_is_a_schema_with_a_shortest_instance_that_satisfies_it(self, shape):
        validator_for(SHAPES[shape], default=Draft202012Validator).check_schema(SHAPES[shape])
        shortest = facts_of(SHAPES[shape]).shortest
        assert argument_fault(AnsweredCall("", "it", shortest), {"it": SHAPES[shape]}) is None

    def test_more_than_two_hundred_ask_for_each_shape_in_each_way(self):
        requests = shape_requests()
        asked = {(shape_of(next(iter(r.tools))), r.choice) for r in requests}
        assert len(requests) > 200
        assert asked == {(shape, choice) for shape in SHAPES for choice in CHOICES}

    def test_every_two_circumstances_meet(self):
        rows = [
            (r.choice, r.is_strict, r.is_streamed, r.num_earlier_calls > 0)
            for r in shape_requests()
        ]
        for one, other in combinations(range(4), 2):
            met = {(row[one], row[other]) for row in rows}
            assert len(met) == len({row[one] for row in rows}) * len({row[other] for row in rows})

    def test_a_named_request_names_its_first_tool(self, vocabulary):
        request = next(r for r in shape_requests() if r.choice == "named")
        body = request.body([1])
        assert body["tool_choice"]["function"]["name"] == body["tools"][0]["function"]["name"]
        assert "custom_params" not in body

    def test_auto_opens_a_section_and_leaves_the_rest_to_the_model(self):
        body = next(r for r in shape_requests() if r.choice == "auto").body([1, 2])
        assert body["tool_choice"] == "auto"
        assert body["custom_params"] == {"script": [1, 2], "then_free": True}

    def test_the_history_ends_before_the_first_index(self):
        request = next(r for r in shape_requests() if r.num_earlier_calls)
        calls = [m for m in request.body([])["messages"] if m["role"] == "assistant"]
        last = calls[-1]["tool_calls"][0]["id"]
        assert last.endswith(f":{request.first_index - 1}")

    def test_a_public_schema_that_is_no_object_becomes_a_property(self, tmp_path):
        lines = [{"type": "string"}, WHOLE, {"$defs": {"a": {}}, "$ref": "#/$defs/a"}, True]
        (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
        text, whole, referring, anything = read_schemas(tmp_path)
        assert text == {"type": "object", "properties": {"value": lines[0]}, "required": ["value"]}
        assert whole == WHOLE
        assert referring["$defs"] == {"a": {}} and facts_of(referring).shortest
        assert anything["properties"] == {"value": True}
        assert [r.is_streamed for r in walle_requests([text])] == [False, True]

    def test_all_public_schemas_are_read(self, shared):
        assert len(read_schemas(shared / "walle")) == 212


def request(tools=None, choice="required", num_earlier_calls=0):
    return ToolRequest(choice, tools or {"it": WHOLE}, True, False, num_earlier_calls, 0, 99)


def answer(*arguments, finish_reason="tool_calls", first=0, **fields):
    calls = [AnsweredCall(f"functions.it:{first + n}", "it", t) for n, t in enumerate(arguments)]
    return ChatAnswer(calls=calls, finish_reason=finish_reason, **fields)


def judge(answered, asked=None, *, fits=True):
    return call_table.judge(asked or request(), answered, ["<|im_end|>"], fits=fits)


class TestJudgement:
    def test_a_valid_call_is_no_fault(self):
        judged = judge(answer('{"n": 3}'))
        assert judged.faults == []
        assert (judged.figures.num_complete, judged.figures.num_valid) == (1, 1)

    @pytest.mark.parametrize(
        ("answered", "word"),
        [
            (answer(finish_reason="length"), "no call"),
            (answer('{"n": 3}', finish_reason="length"), "ended by 'length'"),
            (answer('{"n": "3"}'), "is not of type 'integer'"),
            (answer('{"n": 3'), "no JSON"),
            (answer("3"), "no object"),
            (answer('{"n": 3}', first=1), "want ids ['functions.it:0']"),
            (answer('{"n": 3}', content="So.<|im_end|>"), "stands in a field"),
            (answer(faults=["HTTP 500"]), "HTTP 500"),
            (answer('{"n": "3"}', warnings=["n is no integer"]), "is not of type 'integer'"),
        ],
    )
    def test_each_thing_that_is_wrong_is_named(self, answered, word):
        assert word in judge(answered).faults[0]

    def test_a_format_is_checked_too(self):
        dates = {"type": "object", "properties": {"d": {"type": "string", "format": "date"}}}
        call = AnsweredCall("", "it", '{"d": "2026-06-31"}')
        assert "is not a 'date'" in argument_fault(call, {"it": dates})

    def test_a_second_call_is_wrong_where_one_is_asked_for(self):
        both = answer('{"n": 3}', '{"n": 4}')
        assert judge(both).faults == []
        assert "second call" in judge(both, request(choice="required, one call")).faults[0]

    def test_another_tool_than_the_named_one_is_wrong(self):
        asked = request({"other": WHOLE, "it": WHOLE}, "named")
        assert "want other" in judge(answer('{"n": 3}'), asked).faults[0]

    def test_the_index_goes_on_behind_the_history(self):
        assert judge(answer('{"n": 3}', first=3), request(num_earlier_calls=3)).faults == []

    def test_what_no_grammar_holds_must_be_warned_of(self):
        asked = request({"it": UNIQUE})
        assert "non-unique" in judge(answer('{"a": [1, 1]}'), asked).faults[0]
        judged = judge(answer('{"a": [1, 1]}', warnings=["a: not unique"]), asked)
        assert (judged.faults, judged.figures.num_warned) == ([], 1)

    def test_a_call_that_cannot_fit_may_be_cut(self):
        assert judge(answer('{"n": 3', finish_reason="length"), fits=False).faults == []

    def test_a_table_sums_by_name_and_a_miss_tells_how_many(self):
        judged = [judge(answer('{"n": 3}')), judge(answer("3")), judge(answer("4"))]
        *_, last = call_table.table(judged, "title", lambda r: r.choice)
        assert last.split() == ["all", "3", "3", "3", "3", "1", "0", "0"]
        (line,) = call_table.misses(judged, lambda r: "shape")
        assert line.startswith("shape (required; strict; whole): ") and line.endswith("[2]")


class TestStream:
    def joined(self, *deltas):
        def chunk(delta):
            return SimpleNamespace(usage=None, choices=[SimpleNamespace(**delta)])

        def piece(index, id=None, name=None, arguments=None):
            function = SimpleNamespace(name=name, arguments=arguments)
            delta = SimpleNamespace(
                content=None, tool_calls=[SimpleNamespace(index=index, id=id, function=function)]
            )
            return chunk({"delta": delta, "finish_reason": None})

        return chat_answers._joined([piece(*delta) for delta in deltas])

    def test_deltas_are_joined_to_calls(self):
        answered = self.joined((0, "a", "it"), (0, None, None, "{"), (0, None, None, "}"))
        assert answered.calls == [AnsweredCall("a", "it", "{}")] and not answered.faults

    @pytest.mark.parametrize(
        "deltas",
        [
            [(0, None, None, "{}")],
            [(0, "a", "it"), (0, "a", None, "{}")],
            [(1, "a", "it")],
            [(0, "a", "it"), (1, "b", "it"), (0, None, None, "}")],
        ],
    )
    def test_an_odd_order_is_a_fault(self, deltas):
        assert self.joined(*deltas).faults


class TestGoodOutput:
    def test_its_arguments_satisfy_their_schemas(self, vocabulary):
        for output in good_outputs(vocabulary, prose=False):
            for name, text in output.calls:
                assert argument_fault(AnsweredCall("", name, text), output.tools) is None, output

    def test_an_answer_as_scripted_does_not_differ(self):
        output = GoodOutput("one", {"it": WHOLE}, [("it", '{"n": 3}')], thinking="So.")
        assert good_part.difference(output, answer('{"n": 3}', reasoning="So.")) is None

    @pytest.mark.parametrize(
        ("answered", "word"),
        [
            (answer('{"n": 4}', reasoning="So."), "arguments 0 differ at character 6 of 8"),
            (answer(reasoning="So."), "arguments 0 differ at character 0"),
            (answer('{"n": 3}', reasoning="S"), "reasoning differ at character 1"),
            (answer('{"n": 3}', reasoning="So.", content="a"), "content differ"),
            (answer('{"n": 3}', '{"n": 3}', reasoning="So."), "want 1 calls, got 2"),
            (answer('{"n": 3}', reasoning="So.", finish_reason="length"), "ended by 'length'"),
            (answer(faults=["HTTP 500"]), "HTTP 500"),
        ],
    )
    def test_the_first_difference_is_named(self, answered, word):
        output = GoodOutput("one", {"it": WHOLE}, [("it", '{"n": 3}')], thinking="So.")
        assert word in good_part.difference(output, answered)

    def test_a_walk_finds_the_place_where_the_mask_refuses(self, vocabulary):
        compiler = GrammarCompiler(vocabulary)
        for text, refused in (('{"n": 3}', None), ('{"n": "3"}', '"3"')):
            ids = GoodOutput("one", {"it": WHOLE}, [("it", text)]).token_ids(vocabulary)
            walked = walk(compiler, {"it": WHOLE}, ids, 500)
            if refused is None:
                assert walked.refused == [] and len(walked.step_s) == len(ids)
            else:
                assert '"' in shown(vocabulary, ids, walked.refused[0])


def test_a_walle_folder_that_is_not_there_is_refused(tmp_path, capsys):
    assert main(["bench", "parsers", "--walle", str(tmp_path / "none")]) == 2
    assert "--walle" in capsys.readouterr().err
