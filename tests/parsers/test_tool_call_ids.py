"""Ids and names: decisions I1 to I4 and N1 to N3."""

from collections.abc import Callable

import pytest

from sglang_kimi.parsers.repairs import Repair

from .fakes import ARGUMENT, CALL, END, SECTION, Answer, Way, call, parse, section, tool

Run = Callable[..., Answer]
READ, WRITE = tool("read", "path"), tool("write", "path", "text")
TOOLS = [READ, WRITE]


def ids_of(run: Run, *written: str, **request: object) -> list[str]:
    """Return the ids that calls get whose ids were written so."""
    output = "a" + section(*map(call, written)) + END
    return [call_id for call_id, _ in run(output, **{"tools": TOOLS, **request}).calls]


# I1


@pytest.mark.parametrize("index", [0, 1, 7, 123456])
def test_i1_a_well_formed_id_is_echoed_with_the_models_own_index(run: Run, index: int) -> None:
    answer = run("a" + section(call(f"functions.read:{index}")), tools=TOOLS)
    assert answer.calls == [(f"functions.read:{index}", "{}")]
    assert answer.names == ["read"]
    assert not answer.counters


def test_i1_well_formed_ids_keep_their_order_and_gaps(run: Run) -> None:
    written = ["functions.read:5", "functions.write:3", "functions.read:9"]
    assert ids_of(run, *written, history=2) == written


# I2


def test_i2_an_id_used_in_this_answer_gets_the_next_free_index(run: Run) -> None:
    written = ["functions.read:0", "functions.read:0", "functions.read:0"]
    assert ids_of(run, *written) == ["functions.read:0", "functions.read:1", "functions.read:2"]


def test_i2_an_id_used_in_the_history_gets_the_next_free_index(run: Run) -> None:
    history = ["functions.read:0", "functions.write:1"]
    assert ids_of(run, "functions.read:0", history=history) == ["functions.read:2"]


def test_i2_a_counted_history_uses_the_indices_below_its_number(run: Run) -> None:
    written = ["functions.read:0", "functions.write:1", "functions.read:4"]
    got = ids_of(run, *written, history=3)
    assert got == ["functions.read:3", "functions.write:4", "functions.read:4"]


def test_i2_the_next_free_index_is_one_that_no_call_of_any_name_has(run: Run) -> None:
    written = ["functions.read:0", "functions.write:1", "functions.read:0"]
    assert ids_of(run, *written)[-1] == "functions.read:2"


def test_i2_the_repair_is_counted(run: Run) -> None:
    answer = run("a" + section(call("functions.read:0")), tools=TOOLS, history=1)
    assert answer.calls == [("functions.read:1", "{}")]
    assert answer.counters == {Repair.ID_USED: 1}


def test_i2_many_calls_with_one_id_all_get_their_own() -> None:
    answer = parse(Way("ids", 0), "a" + section(call("functions.read:0") * 2000), tools=TOOLS)
    assert answer.calls == [(f"functions.read:{index}", "{}") for index in range(2000)]


# I3


@pytest.mark.parametrize(
    ("written", "repairs"),
    [
        ("read:4", {Repair.PREFIX_REPAIRED}),
        ("functions.read", {Repair.INDEX_REPAIRED}),
        ("read", {Repair.PREFIX_REPAIRED, Repair.INDEX_REPAIRED}),
        ("functions.read:", {Repair.NAME_RECOVERED}),
        ("functions.read:x", {Repair.NAME_RECOVERED}),
        ("functions. read : 4", set()),
    ],
)
def test_i3_a_missing_prefix_or_index_is_repaired(
    run: Run, written: str, repairs: set[str]
) -> None:
    answer = run("a" + section(call(written)), tools=TOOLS, history=4)
    assert answer.calls == [("functions.read:4", "{}")]
    assert answer.names == ["read"]
    assert set(answer.counters) == repairs


def test_i3_the_index_is_the_position_where_none_is_given_and_history_counts(run: Run) -> None:
    written = ["read", "functions.write", "read:9", "read"]
    got = ids_of(run, *written, history=["call_a", "call_b"])
    assert got == ["functions.read:2", "functions.write:3", "functions.read:9", "functions.read:5"]


def test_i3_a_position_already_taken_gives_the_next_free_one(run: Run) -> None:
    assert ids_of(run, "functions.write:1", "read") == ["functions.write:1", "functions.read:2"]


def test_i3_positions_count_on_from_the_highest_index_of_a_shortened_history(run: Run) -> None:
    assert ids_of(run, "read", history=["functions.read:8"]) == ["functions.read:9"]


def test_i3_an_index_that_is_no_count_is_given_anew(run: Run) -> None:
    huge = "functions.read:" + "9" * 5000
    assert ids_of(run, huge) == ["functions.read:0"]


# I4


@pytest.mark.parametrize(
    "written",
    [
        "functions_read_0",
        "read_0",
        "call_read_1",
        "default_api.read:0",
        "functions/read:0",
        "callread",
    ],
)
def test_i4_a_declared_name_found_inside_the_id_is_taken(run: Run, written: str) -> None:
    answer = run("a" + section(call(written)), tools=TOOLS)
    assert answer.names == ["read"]
    assert answer.calls == [("functions.read:0", "{}")]
    assert answer.counters[Repair.NAME_RECOVERED] == 1


def test_i4_a_sanitized_native_id_keeps_its_index(run: Run) -> None:
    assert ids_of(run, "functions_read_7", "functions-write-9") == [
        "functions.read:7",
        "functions.write:9",
    ]


def test_i4_the_longest_of_nested_names_is_taken(run: Run) -> None:
    tools = [tool("read"), tool("read_file"), tool("file")]
    assert run("a" + section(call("call_read_file_3")), tools=tools).names == ["read_file"]


def test_i4_a_short_name_inside_a_random_id_is_no_name(run: Run) -> None:
    tools = [tool("a", "x"), tool("b2", "y")]
    answer = run("a" + section(call("call_qa1b2c3", '{"x": 1}')), tools=tools)
    assert answer.names == ["a"]  # by its properties


@pytest.mark.parametrize("written", ["call00003", "call_9f1c", "", "functions.", "toolu_01A"])
def test_i4_the_only_tool_is_taken(run: Run, written: str) -> None:
    answer = run("a" + section(call(written, '{"x": 1}')), tools=[READ], history=2)
    assert answer.calls == [("functions.read:2", '{"x": 1}')]
    assert answer.names == ["read"]
    assert answer.counters[Repair.NAME_RECOVERED] == 1


@pytest.mark.parametrize("written", ["5", ":5", "functions.5", "functions.:5"])
def test_i4_an_id_that_is_only_an_index_keeps_it(run: Run, written: str) -> None:
    assert ids_of(run, written, tools=[READ]) == ["functions.read:5"]


@pytest.mark.parametrize(
    "choice", [{"type": "function", "function": {"name": "write"}}, {"name": "write"}]
)
def test_i4_a_named_tool_choice_leaves_only_that_tool(run: Run, choice: object) -> None:
    answer = run("a" + section(call("call00003")), tools=TOOLS, tool_choice=choice)
    assert answer.names == ["write"]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ('{"path": "x"}', "read"),
        ('{"text": "x"}', "write"),
        ('{"text": "x", "path": "y"}', "write"),
        ('"{\\"text\\": \\"x\\"}"', "write"),
    ],
)
def test_i4_the_tool_whose_properties_fit_best_is_taken(
    run: Run, arguments: str, name: str
) -> None:
    answer = run("a" + section(call("call_x", arguments), call("functions.read:1")), tools=TOOLS)
    assert answer.names == [name, "read"]
    assert answer.calls[0][0] == f"functions.{name}:0"
    assert answer.counters[Repair.NAME_RECOVERED] == 1


def test_i4_no_arguments_fit_the_one_tool_that_needs_none(run: Run) -> None:
    answer = run("a" + section(call("call_x", "")), tools=[READ, tool("ping")])
    assert (answer.names, answer.calls) == (["ping"], [("functions.ping:0", "{}")])


@pytest.mark.parametrize("arguments", ['{"path": "x"}', "{}", "[]", "not json", '{"else": 1}'])
def test_i4_where_two_tools_fit_alike_there_is_no_call_and_a_counter_rises(
    run: Run, arguments: str
) -> None:
    tools = [tool("load", "path"), tool("scan", "path")]
    answer = run("a" + section(call("call_x", arguments)) + f"b{END}", tools=tools)
    assert (answer.calls, answer.reason) == ([], "stop")
    assert answer.fields == ("a", "b")
    assert answer.counters[Repair.CALL_WITHOUT_NAME] == 1


def test_i4_a_dropped_call_leaves_no_gap_in_the_others(run: Run) -> None:
    tools = [tool("load", "path"), tool("scan", "path")]
    output = "a" + section(call("load:0"), call("call_x"), call("scan"))
    answer = run(output, tools=tools)
    assert answer.calls == [("functions.load:0", "{}"), ("functions.scan:1", "{}")]


def test_i4_a_cut_call_without_a_name_is_no_call(run: Run) -> None:
    output = f'a{SECTION}{CALL}call_x{ARGUMENT}{{"te'
    answer = run(output, tools=TOOLS, truncated=True)
    assert (answer.calls, answer.reason) == ([], "length")
    assert answer.counters[Repair.CALL_WITHOUT_NAME] == 1


# N1


@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        "$web_search",
        "a:b",
        "a:1",
        "a@b.c",
        "mcp__server__do-it",
        "функция",
        "工具",
        "functions.read",
        "functions.a:0",
        "with space",
        "{x}",
        "7",
        "a\u00e9🙂",
    ],
)
def test_n1_declared_names_of_any_characters_are_found(run: Run, name: str) -> None:
    tools = [tool(name), tool("other")]
    answer = run("a" + section(call(f"functions.{name}:3"), call(name)), tools=tools)
    assert answer.names == [name, name]
    assert answer.calls == [(f"functions.{name}:3", "{}"), (f"functions.{name}:1", "{}")]


def test_n1_a_name_that_ends_like_an_index_is_not_taken_apart(run: Run) -> None:
    assert ids_of(run, "functions.a:1", tools=[tool("a:1")]) == ["functions.a:1:0"]


def test_n1_the_reading_with_an_index_is_the_native_one_where_both_names_exist(run: Run) -> None:
    answer = run("a" + section(call("functions.a:1")), tools=[tool("a:1"), tool("a")])
    assert (answer.names, answer.calls) == (["a"], [("functions.a:1", "{}")])


def test_n1_a_flat_declaration_declares_too(run: Run) -> None:
    flat = {"type": "function", "name": "read", "parameters": {"type": "object"}}
    assert ids_of(run, "read", tools=[flat, tool("other")]) == ["functions.read:0"]


# N2


@pytest.mark.parametrize("written", ["functions.foo:2", "foo:2", " functions.foo:2 "])
def test_n2_an_undeclared_name_is_passed_on(run: Run, written: str) -> None:
    answer = run("a" + section(call(written, '{"path": 1}')), tools=TOOLS)
    assert answer.names == ["foo"]
    assert answer.calls == [("functions.foo:2", '{"path": 1}')]
    assert answer.counters[Repair.UNDECLARED_NAME] == 1


def test_n2_a_native_id_is_taken_at_its_word_even_if_a_declared_name_is_in_it(run: Run) -> None:
    answer = run("a" + section(call("functions.read_all:0")), tools=[READ])
    assert answer.names == ["read_all"]


def test_n2_an_undeclared_name_without_index_gets_its_position(run: Run) -> None:
    assert ids_of(run, "functions.foo", history=3) == ["functions.foo:3"]


# N3


@pytest.mark.parametrize(
    "request_", [{"tools": None}, {"tools": []}, {"tools": TOOLS, "tool_choice": "none"}]
)
def test_n3_where_no_call_is_allowed_the_section_is_dropped_whole(
    run: Run, request_: dict[str, object]
) -> None:
    output = "a" + section("x", call("functions.read:0", '{"path": 1}'), call("read")) + f"b{END}"
    answer = run(output, **request_)
    assert (answer.calls, answer.reason) == ([], "stop")
    assert answer.fields == ("a", "b")
    assert answer.counters[Repair.SECTION_NOT_ALLOWED] == 1


def test_n3_a_call_without_its_section_is_dropped_as_well(run: Run) -> None:
    answer = run("a" + call("functions.read:0") + f"b{END}", tools=None)
    assert (answer.calls, answer.fields) == ([], ("a", "b"))
    assert answer.counters[Repair.SECTION_NOT_ALLOWED] == 1


def test_n3_a_cut_section_is_length_without_a_call(run: Run) -> None:
    output = f'a{SECTION}{CALL}functions.read:0{ARGUMENT}{{"pa'
    answer = run(output, tools=None, truncated=True)
    assert (answer.calls, answer.reason) == ([], "length")
