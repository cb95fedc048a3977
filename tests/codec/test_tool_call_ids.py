"""Native tool-call ids: what is kept, what is counted, and what results follow."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sglang_kimi.codec.messages import PromptError
from sglang_kimi.codec.tool_call_ids import count_history_calls, history_call_ids, naming

Message = dict[str, Any]


def calls(*pairs: tuple[Any, str]) -> Message:
    return {
        "role": "assistant",
        "tool_calls": [{"id": call_id, "function": {"name": name}} for call_id, name in pairs],
    }


def result(call_id: Any) -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": "r"}


def rendered(*messages: Message) -> list[str]:
    """Return the ids of calls and results in message order, results marked by an arrow."""
    ids = naming("normal")
    found = []
    for message in messages:
        if message["role"] == "assistant":
            found += ids.for_calls(message, "m")
        elif message["role"] == "tool":
            found.append(f"→{ids.for_result(message, 'm')}")
    return found


CANONICAL = [
    calls(("functions.Bash:0", "Bash")),
    result("functions.Bash:0"),
    calls(("functions.Read:1", "Read"), ("functions.Bash:2", "Bash")),
    result("functions.Read:1"),
    result("functions.Bash:2"),
    calls(("functions.Read:3", "Read")),
    result("functions.Read:3"),
]


@pytest.mark.parametrize(
    "ids",
    [
        ("call_abc", "call_def", "call_ghi", "call_jkl"),
        ("functions_Bash_0", "functions_Read_1", "functions_Bash_2", "functions_Read_3"),
        ("toolu_01", "7c0e9a32-6f5b-4d0e-9c37-3f9b0b7f0b11", "functions.Bash:2", "call00003"),
        ("Bash:0", "Read:1", "functions.Bash", "functions.Other:3"),
        ("same", "other", "third", "same"),
    ],
)
def test_foreign_ids_render_like_native_ids_counted_over_the_conversation(
    ids: tuple[str, ...],
) -> None:
    foreign = [
        calls((ids[0], "Bash")),
        result(ids[0]),
        calls((ids[1], "Read"), (ids[2], "Bash")),
        result(ids[1]),
        result(ids[2]),
        calls((ids[3], "Read")),
        result(ids[3]),
    ]
    assert rendered(*foreign) == rendered(*CANONICAL)
    assert rendered(*CANONICAL)[:2] == ["functions.Bash:0", "→functions.Bash:0"]


def test_a_native_id_that_names_its_own_function_and_is_unused_is_kept() -> None:
    window = [calls(("functions.a:7", "a")), calls(("call_x", "b")), calls(("functions.c:3", "c"))]
    assert rendered(*window) == ["functions.a:7", "functions.b:8", "functions.c:3"]


@pytest.mark.parametrize(
    "call_id",
    ["functions.b:0", "functions.a:00", "functions.a:-1", "functions.a:", "functions.a:1234567890",
     "functions.a:٣", "functions.a:0\n", "Functions.a:0", "", None],
)  # fmt: skip
def test_an_id_that_is_not_native_is_counted(call_id: Any) -> None:
    assert rendered(calls((call_id, "a"))) == ["functions.a:0"]


def test_a_name_may_hold_dots_and_colons() -> None:
    assert rendered(calls(("functions.a.b:1:4", "a.b:1"))) == ["functions.a.b:1:4"]


def test_repeated_ids_are_made_unique_and_results_follow_their_own_turn() -> None:
    history = [
        calls(("functions.f:0", "f")),
        result("functions.f:0"),
        calls(("functions.f:0", "f")),
        result("functions.f:0"),
    ]
    assert rendered(*history) == [
        "functions.f:0",
        "→functions.f:0",
        "functions.f:1",
        "→functions.f:1",
    ]


def test_results_of_one_id_twice_in_a_turn_are_given_in_order() -> None:
    history = [calls(("x", "f"), ("x", "g")), result("x"), result("x"), result("x")]
    assert rendered(*history) == [
        "functions.f:0",
        "functions.g:1",
        "→functions.f:0",
        "→functions.g:1",
        "→functions.g:1",
    ]


def test_a_later_turn_takes_over_an_id_whose_result_was_cut_away() -> None:
    history = [calls(("x", "f")), calls(("x", "f")), result("x")]
    assert rendered(*history) == ["functions.f:0", "functions.f:1", "→functions.f:1"]


def test_parallel_results_may_come_in_any_order() -> None:
    history = [calls(("x", "f"), ("y", "g")), result("y"), result("x")]
    assert rendered(*history)[2:] == ["→functions.g:1", "→functions.f:0"]


def test_a_result_without_call_keeps_its_id_and_no_call_gets_it() -> None:
    assert rendered(result("call_gone"), result("functions.f:0"), calls(("x", "f"))) == [
        "→call_gone",
        "→functions.f:0",
        "functions.f:1",
    ]


@settings(deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["x", "y", "functions.f:0", "functions.g:1", "functions.f:5", ""]),
                st.sampled_from("fg"),
            ),
            max_size=3,
        ),
        max_size=5,
    )
)
def test_ids_never_repeat_and_depend_on_earlier_messages_only(
    turns: list[list[tuple[str, str]]],
) -> None:
    messages = [calls(*turn) for turn in turns]
    ids = history_call_ids(messages)
    assert len(set(ids)) == len(ids) == count_history_calls(messages)
    for length in range(len(messages)):
        prefix = history_call_ids(messages[:length])
        assert ids[: len(prefix)] == prefix
    assert history_call_ids([calls(*zip(ids, [i[10] for i in ids], strict=True))]) == ids


def test_history_call_ids_are_those_that_are_rendered() -> None:
    assert history_call_ids([{"role": "user", "content": "u"}, *CANONICAL]) == [
        "functions.Bash:0",
        "functions.Read:1",
        "functions.Bash:2",
        "functions.Read:3",
    ]
    assert history_call_ids([calls(("x", "f"))], "verbatim") == ["x"]
    assert history_call_ids([]) == []


def test_a_verbatim_id_that_is_absent_is_empty() -> None:
    assert history_call_ids([calls(("x", "f"), (None, "f"))], "verbatim") == ["x", ""]


def test_a_verbatim_id_must_be_a_text() -> None:
    with pytest.raises(PromptError, match=r"messages\[0\]\.tool_calls\[1\]\.id: want a text"):
        history_call_ids([calls(("x", "f"), (5, "f"))], "verbatim")


def test_results_without_id_answer_calls_without_id_in_order() -> None:
    assert rendered(calls((None, "f"), (None, "g")), result(None), result(None)) == [
        "functions.f:0",
        "functions.g:1",
        "→functions.f:0",
        "→functions.g:1",
    ]


def test_a_call_without_name_cannot_get_a_native_id() -> None:
    message = {"role": "assistant", "tool_calls": [{"id": "x", "function": {"name": ""}}]}
    with pytest.raises(PromptError, match=r"tool_calls\[0\]\.function\.name: want the name"):
        history_call_ids([message])


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="want 'verbatim' or 'normal', got 'native'"):
        naming("native")  # type: ignore[arg-type]
