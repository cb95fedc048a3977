"""Our CPU platform is taken only where SGLang has no platform of its own."""

import pytest
from sglang.srt import platforms

from sglang_kimi.cpu import defaults
from sglang_kimi.cpu.register import PLATFORM_CLASS
from sglang_kimi.plugin import platform

CHECKS = ("cpu", "cuda", "rocm", "npu", "xpu", "musa", "mps")


@pytest.fixture(autouse=True)
def no_device(monkeypatch):
    for name in CHECKS:
        monkeypatch.setattr(platforms, f"_is_{name}_available", lambda: False)


def test_without_any_device_our_platform_is_chosen():
    assert platform() == PLATFORM_CLASS
    assert platforms._load_platform_class(PLATFORM_CLASS)().device_type == "cpu"


@pytest.mark.parametrize("name", CHECKS)
def test_with_a_platform_of_its_own_sglang_keeps_it(monkeypatch, name):
    monkeypatch.setattr(platforms, f"_is_{name}_available", lambda: True)
    assert platform() is None


@pytest.mark.parametrize(
    ("cores", "num_ranks", "expected"),
    [
        ({0, 1}, 2, "0|1"),
        ({0, 1}, 1, "0,1"),
        ({0, 1, 2, 3}, 2, "0,1|2,3"),
        ({4, 5}, 4, "4|5|4|5"),
    ],
)
def test_cores_are_shared_out_among_ranks(monkeypatch, cores, num_ranks, expected):
    monkeypatch.setattr(defaults.os, "sched_getaffinity", lambda pid: cores)
    assert defaults.bind_string(num_ranks) == expected
