"""What is odd in histories and outputs is shown to the operator by kind, as totals."""

from collections import Counter

from prometheus_client import REGISTRY

from sglang_kimi.chat.answer import Answer, AnswerOptions
from sglang_kimi.chat.metrics import CUT_CALL_LEFT_OUT, answer_metrics, prompt_metrics
from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.parsers.repairs import Repair


def seen(kind):
    return REGISTRY.get_sample_value("sglang_kimi_odd_history_total", {"kind": kind}) or 0


def test_what_is_odd_in_histories_is_counted_by_kind_and_only_once():
    prompt_metrics().count_odd_history(Counter())  # other tests count from totals of their own
    before = seen("role"), seen("arguments")
    totals = Counter({"role": 2})
    prompt_metrics().count_odd_history(totals)
    totals["arguments"] += 1
    totals["role"] += 3
    for _ in range(2):
        prompt_metrics().count_odd_history(totals)
    assert (seen("role"), seen("arguments")) == (before[0] + 5, before[1] + 1)


def repaired(kind):
    return REGISTRY.get_sample_value("sglang_kimi_output_repairs_total", {"kind": kind})


def test_every_kind_of_repair_has_its_own_number_from_the_start():
    answer_metrics()
    assert [kind for kind in (*Repair, CUT_CALL_LEFT_OUT) if repaired(str(kind)) is None] == []


def test_repairs_of_an_answer_are_counted_when_it_ends(mini_checkpoint):
    vocabulary = Vocabulary.load(mini_checkpoint)
    answer_metrics()
    before = repaired("think_reopened"), repaired("stray_marker")
    answer = Answer(vocabulary, AnswerOptions())
    pieces = ("a", "<think>", "b", "</think>", "c", "<|tool_call_end|>")
    answer.feed([token for piece in pieces for token in vocabulary.encode(piece)])
    assert (repaired("think_reopened"), repaired("stray_marker")) == before
    answer.finish([], {"type": "stop"})
    now = repaired("think_reopened"), repaired("stray_marker")
    assert now == (before[0] + 1, before[1] + 1)
