"""Reasoning and content: the facts, and decisions V1, D1, K1, R2, X3 and X4."""

from collections.abc import Callable

import pytest

from sglang_kimi.parsers.repairs import Repair

from .fakes import (
    ARGUMENT,
    END,
    END_CALL,
    END_SECTION,
    END_THINK,
    EOS,
    SECTION,
    THINK,
    Answer,
    Way,
    call,
    parse,
    section,
    tool,
)

Run = Callable[..., Answer]
TOOLS = [tool("run")]


def test_text_before_the_closing_marker_is_reasoning_and_after_it_content(run: Run) -> None:
    answer = run(f"think{END_THINK}say{END}", tools=None)
    assert answer.fields == ("think", "say")
    assert answer.reason == "stop"
    assert not answer.counters


def test_without_open_thinking_all_is_content(run: Run) -> None:
    answer = run(f"say{END}", tools=None, starts_in_thinking=False)
    assert answer.fields == ("", "say")


def test_an_empty_output_is_an_empty_stop(run: Run) -> None:
    answer = run("", tools=TOOLS)
    assert answer.fields == ("", "")
    assert (answer.calls, answer.reason) == ([], "stop")


def test_thinking_that_never_ends_is_reasoning(run: Run) -> None:
    answer = run(f"think{END}", tools=TOOLS)
    assert answer.fields == ("think", "")
    assert answer.reason == "stop"


def test_cut_thinking_is_reasoning_and_length(run: Run) -> None:
    answer = run("thin", tools=TOOLS, truncated=True)
    assert answer.fields == ("thin", "")
    assert answer.reason == "length"


def test_v1_blanks_and_newlines_are_kept(run: Run) -> None:
    answer = run(f"\n  think \n\n{END_THINK}\n\n say \r\n\t{END}", tools=TOOLS)
    assert answer.fields == ("\n  think \n\n", "\n\n say \r\n\t")


def test_v1_blank_reasoning_and_content_are_kept_around_a_call(run: Run) -> None:
    answer = run(f"\n{END_THINK} {section(call('functions.run:0'))}\n{END}", tools=TOOLS)
    assert answer.fields == ("\n", " \n")


def test_v1_any_unicode_is_kept(run: Run) -> None:
    text = "é 漢字 🙂 \u200d\u0000 \ufeff <b> </think <|tool|>"
    answer = run(f"{text}{END_THINK}{text}", tools=TOOLS)
    assert answer.fields == (text, text)


def test_d1_a_repeated_opener_at_the_start_is_dropped(run: Run) -> None:
    answer = run(f"{THINK}think{END_THINK}say", tools=TOOLS)
    assert answer.fields == ("think", "say")
    assert answer.counters == {Repair.THINK_REOPENED: 1}


def test_d1_an_opener_in_the_content_makes_reasoning_again(run: Run) -> None:
    answer = run(f"a{END_THINK}b{THINK}c{END_THINK}d", tools=TOOLS)
    assert answer.fields == ("ac", "bd")
    assert answer.counters == {Repair.THINK_REOPENED: 1}


def test_d1_an_opener_after_a_section_makes_reasoning_again(run: Run) -> None:
    answer = run(f"a{section(call('functions.run:0'))}{THINK}b{END_THINK}c", tools=TOOLS)
    assert answer.fields == ("ab", "c")
    assert len(answer.calls) == 1


def test_d1_thinking_inside_a_section_is_reasoning_and_the_section_goes_on(run: Run) -> None:
    output = f"{SECTION}{THINK}b{END_THINK}dropped{call('functions.run:0')}{END_SECTION}c"
    answer = run(f"a{END_THINK}{output}", tools=TOOLS)
    assert answer.fields == ("ab", "c")
    assert answer.calls == [("functions.run:0", "{}")]


def test_k1_a_section_inside_the_thinking_ends_it_for_good(run: Run) -> None:
    output = f"a{section(call('functions.run:0'))}b{END_THINK}c{END}"
    answer = run(output, tools=TOOLS)
    assert answer.fields == ("a", "bc")
    assert answer.calls == [("functions.run:0", "{}")]
    assert answer.reason == "tool_calls"
    assert answer.counters == {Repair.STRAY_MARKER: 1}


def test_k1_a_closing_marker_inside_the_section_is_dropped(run: Run) -> None:
    output = f"a{SECTION}{END_THINK}{call('functions.run:0')}{END_SECTION}c{END}"
    answer = run(output, tools=TOOLS)
    assert answer.fields == ("a", "c")
    assert answer.calls == [("functions.run:0", "{}")]


@pytest.mark.parametrize(
    "stray",
    [END_THINK, END_SECTION, ARGUMENT, END_CALL, "<|im_user|>", "<|reserved_token_7|>"],
)
def test_r2_a_stray_marker_in_the_content_is_removed_and_the_text_stays(
    run: Run, stray: str
) -> None:
    answer = run(f"a{END_THINK}b{stray} c{END}", tools=TOOLS)
    assert answer.fields == ("a", "b c")
    assert answer.counters == {Repair.STRAY_MARKER: 1}
    assert answer.reason == "stop"


@pytest.mark.parametrize("stray", [END_SECTION, ARGUMENT, END_CALL, "<|media_pad|>"])
def test_r2_a_stray_marker_in_the_thinking_is_removed_and_the_text_stays(
    run: Run, stray: str
) -> None:
    answer = run(f"a {stray}b{END_THINK}c{END}", tools=TOOLS)
    assert answer.fields == ("a b", "c")
    assert answer.counters == {Repair.STRAY_MARKER: 1}


def test_what_follows_the_turn_end_is_ignored(run: Run) -> None:
    answer = run(f"a{END_THINK}b{END}c{THINK}d{section(call('functions.run:0'))}", tools=TOOLS)
    assert answer.fields == ("a", "b")
    assert answer.reason == "stop"


def test_the_tokenizers_own_end_token_ends_the_output_too(run: Run) -> None:
    assert run(f"a{END_THINK}b{EOS}", tools=TOOLS).fields == ("a", "b")


@pytest.mark.parametrize("step", [0, 1, 5])
def test_text_that_spells_the_end_token_amid_an_answer_is_text(step: int) -> None:
    answer = parse(Way("text", step), f"a{END_THINK}ids[EOS] = 1", tools=TOOLS)
    assert answer.fields == ("a", "ids[EOS] = 1")


@pytest.mark.parametrize(
    "tail", ["<", "<|tool_calls_sec", "</thin", "<|im_en", "[EO", "<|reserved_token_7|"]
)
def test_x3_what_only_began_like_a_marker_is_text(run: Run, tail: str) -> None:
    answer = run(f"a{END_THINK}b{tail}", tools=TOOLS, truncated=True)
    assert answer.fields == ("a", f"b{tail}")
    assert answer.reason == "length"


def test_x3_half_a_marker_followed_by_text_or_a_marker_is_text(run: Run) -> None:
    answer = run(f"a</thi b<<think c<{END_THINK}d<|im_{END}", tools=TOOLS)
    assert answer.fields == ("a</thi b<<think c<", "d<|im_")


def test_x4_length_stays_length_where_all_calls_are_complete(run: Run) -> None:
    answer = run(f"a{section(call('functions.run:0'))}", tools=TOOLS, truncated=True)
    assert answer.calls == [("functions.run:0", "{}")]
    assert answer.reason == "length"
