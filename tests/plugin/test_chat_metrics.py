"""What is odd in histories is shown to the operator by kind, as totals of the process."""

from collections import Counter

from prometheus_client import REGISTRY

from sglang_kimi.chat.metrics import prompt_metrics


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
