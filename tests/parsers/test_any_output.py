"""What holds for every output, valid, damaged or random, and for every way to cut it."""

from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sglang_kimi.parsers.events import Finish, Reasoning
from sglang_kimi.parsers.output_parser import OutputParser
from sglang_kimi.parsers.text_front import MARKERS, TextFront

from .fakes import CONTROL_TEXTS, NUM_RANKS, VOCABULARY, Answer, Way, parse, plain_ids, tool
from .fuzz import smallest
from .output_checks import check_case
from .random_outputs import Case, Encoder, random_case

TOOLS = [tool("run", "x"), tool("a:1", "y"), tool("run_all", "x", optional=["y"])]
ENCODER = Encoder(VOCABULARY)


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_output_gives_the_same_answer_for_every_split_and_on_both_fronts(seed: int) -> None:
    check_case(VOCABULARY, random_case(Random(seed), VOCABULARY, ENCODER))


def test_most_random_outputs_can_be_compared_as_text_too() -> None:
    cases = [random_case(Random(seed), VOCABULARY, ENCODER) for seed in range(200)]
    assert sum(check_case(VOCABULARY, case) for case in cases) > 100


def test_a_failing_case_is_made_as_small_as_it_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(_: object, case: Case) -> bool:
        assert not {7, 9} <= {*case.token_ids}
        return True

    monkeypatch.setattr("tests.parsers.fuzz.check_case", check)
    case = Case(tuple(range(20)), {}, False, (1, 5))
    assert smallest(case) == Case((7, 9), {}, False, ())


@given(text=st.text(alphabet="<|/think>[EOS] é", max_size=30), step=st.integers(1, 5))
@example(text="a < b", step=1)
def test_reasoning_is_held_no_longer_than_a_marker_may_need(text: str, step: int) -> None:
    front = TextFront(tools=TOOLS)
    shown = ""
    for start in range(0, len(text), step):
        shown += "".join(
            e.text for e in front.feed(text[start : start + step]) if isinstance(e, Reasoning)
        )
        held = text[len(shown) : start + step]
        assert not held or any(m.startswith(held) for m in (*CONTROL_TEXTS, *MARKERS))


@given(text=st.text(max_size=30))
def test_by_id_reasoning_is_not_held_at_all(text: str) -> None:
    parser = OutputParser(VOCABULARY, tools=TOOLS)
    for character in text:
        events = [event for byte in plain_ids(character) for event in parser.feed([byte])]
        assert events == [Reasoning(character)]


@settings(max_examples=300, deadline=None)
@given(
    ids=st.lists(
        st.integers(NUM_RANKS, VOCABULARY.size - 1) | st.sampled_from(list(b'ru{}":0 x\n')),
        max_size=60,
    ),
    truncated=st.booleans(),
)
def test_no_control_token_ever_appears_in_a_field(ids: list[int], truncated: bool) -> None:
    answer: Answer = parse(Way("ids", 3), ids, tools=TOOLS, truncated=truncated)
    fields = repr(answer.output)
    assert "<" not in fields
    assert "|" not in fields


@pytest.mark.parametrize("front", ["ids", "text"])
def test_after_the_end_nothing_more_comes(front: str) -> None:
    if front == "ids":
        parser = OutputParser(VOCABULARY, tools=None)
        assert parser.finish(False) == [Finish("stop")]
        assert parser.feed(b"more") == []
    else:
        text = TextFront(tools=None)
        assert text.finish(False) == [Finish("stop")]
        assert text.feed("more") == []
