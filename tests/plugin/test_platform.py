"""Our CPU platform is taken only where SGLang has no platform of its own."""

from types import SimpleNamespace

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


@pytest.fixture
def arguments(monkeypatch, tmp_path):
    """SGLang's arguments as they stand when the user gave nothing but the model."""
    monkeypatch.setattr(defaults.os, "environ", {})
    return SimpleNamespace(
        dtype="auto",
        max_total_tokens=None,
        max_running_requests=None,
        chunked_prefill_size=None,
        tp_size=1,
        pp_size=1,
        model_path=str(tmp_path),
    )


def test_a_server_on_the_cpu_computes_in_float32_without_graphs(arguments):
    defaults.apply_cpu_defaults(arguments)
    assert arguments.dtype == "float32"
    assert arguments.disable_cuda_graph and arguments.sleep_on_idle


def test_what_the_user_gave_stays(arguments):
    arguments.dtype, arguments.max_total_tokens = "bfloat16", 4096
    defaults.os.environ["OMP_NUM_THREADS"] = "7"
    defaults.apply_cpu_defaults(arguments)
    assert (arguments.dtype, arguments.max_total_tokens) == ("bfloat16", 4096)
    assert defaults.os.environ["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize(("hidden_size", "threads"), [(256, "1"), (7168, "2")])
def test_a_small_model_runs_on_one_thread_a_large_one_on_all(
    arguments, monkeypatch, tmp_path, hidden_size, threads
):
    monkeypatch.setattr(defaults.os, "sched_getaffinity", lambda pid: {0, 1})
    (tmp_path / "config.json").write_text(f'{{"text_config": {{"hidden_size": {hidden_size}}}}}')
    defaults.apply_cpu_defaults(arguments)
    assert defaults.os.environ["OMP_NUM_THREADS"] == threads
