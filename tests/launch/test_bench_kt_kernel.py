"""`bench kernels --kt-kernel` without the wheel: what is kept, what is compared, what fails how."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sglang_kimi.kernels.moe.int4 import moe_int4
from sglang_kimi.launch.bench import kt_kernel, kt_kernel_rows
from sglang_kimi.launch.bench.kernel_experts import random_experts, routed
from sglang_kimi.launch.bench.kernel_row import Row
from sglang_kimi.launch.bench.kernel_table import _missed_experts
from sglang_kimi.launch.bench.kt_kernel import KtKernel, KtKernelError, Loaded
from sglang_kimi.launch.bench.kt_kernel_process import be_ordinary
from sglang_kimi.launch.bench.kt_kernel_rows import AVX2, BEST, KtKernels, KtTimes, thread_counts

SHAPE = (64, 32, 16, 1)


class FakeKernel:
    """Computes as ours do; a call takes a second with one thread, two with more."""

    def __init__(self, folder, variant=None):
        self.variant = variant or "avx512"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def load(self, shape, threads):
        hidden, inter, num, num_tokens = shape
        x, ids, weights = routed(hidden, num, num_tokens, 0)
        output = moe_int4(x, random_experts(hidden, inter, num), ids, weights)
        return Loaded(self.variant, f"{self.variant} kernel", output[0].tolist())

    def seconds(self, threads):
        return 1.0 if threads == 1 else 2.0


@pytest.fixture
def fakes(monkeypatch, tmp_path):
    monkeypatch.setattr(kt_kernel_rows, "kt_kernel_folder", lambda: tmp_path)
    monkeypatch.setattr(kt_kernel_rows, "KtKernel", FakeKernel)
    monkeypatch.setattr(kt_kernel_rows, "_ASLEEP_S", 0.0)


def test_only_its_own_packages_are_kept_of_the_wheel(tmp_path):
    for name in ("kt_kernel", "kt_kernel.libs", "sgl_kernel", "lib"):
        (tmp_path / name).mkdir()
    (tmp_path / "_other.so").touch()
    kt_kernel.keep_only(tmp_path, kt_kernel.KEPT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kt_kernel", "kt_kernel.libs"]


def test_a_wheel_without_its_packages_is_an_error_that_names_the_missing_one(tmp_path):
    (tmp_path / "kt_kernel").mkdir()
    with pytest.raises(KtKernelError, match=r"no folder kt_kernel\.libs"):
        kt_kernel.keep_only(tmp_path, kt_kernel.KEPT)


def test_a_failed_install_leaves_no_folder_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(kt_kernel, "default_cache", lambda: tmp_path)
    failing = tmp_path / "uv"
    failing.write_text("#!/bin/sh\necho 'cause' >&2\necho 'no such package' >&2\nexit 2\n")
    failing.chmod(0o755)
    monkeypatch.setattr(kt_kernel, "find_uv", lambda cache: failing)
    with pytest.raises(KtKernelError, match=r"^no such package$"):
        kt_kernel.kt_kernel_folder()
    assert [path.name for path in tmp_path.iterdir()] == ["uv"]


def test_without_the_wheel_one_line_says_so_and_nothing_is_compared(monkeypatch):
    def fail():
        raise KtKernelError("no network")

    monkeypatch.setattr(kt_kernel_rows, "kt_kernel_folder", fail)
    lines = []
    with KtKernels(lines.append) as kernels:
        assert kernels.measure(SHAPE, 2) == {}
    assert lines == ["kt-kernel==0.7.2 cannot be installed: no network"]


def test_a_process_that_ends_is_named_once_by_the_last_line_of_its_log(monkeypatch, tmp_path):
    class Ending(KtKernel):
        def __init__(self, folder, variant=None):
            super().__init__(folder, variant)
            self._command = [sys.executable, "-c", "raise SystemExit('trace\\nwrong torch')"]

    monkeypatch.setattr(kt_kernel_rows, "kt_kernel_folder", lambda: tmp_path)
    monkeypatch.setattr(kt_kernel_rows, "KtKernel", Ending)
    lines = []
    with KtKernels(lines.append) as kernels:
        assert kernels.measure(SHAPE, 2) == {}
        assert kernels.measure(SHAPE, 2) == {}
    assert lines == [f"  {name} cannot be run: wrong torch" for name in (BEST, AVX2)]


def test_its_experts_and_tokens_are_ours(fakes):
    with KtKernels(print) as kernels:
        found = kernels.measure(SHAPE, 2)
    assert list(found) == [BEST, AVX2]
    assert found[BEST].error < 1e-3  # the fake has our kernel's error


def test_other_experts_would_show_as_an_error(fakes, monkeypatch):
    other = lambda *shape: random_experts(*shape[:2], shape[2] + 1)  # noqa: E731
    monkeypatch.setattr(kt_kernel_rows, "random_experts", other)
    with KtKernels(print) as kernels:
        assert kernels.measure(SHAPE, 1)[BEST].error > 0.5


def test_a_cpu_whose_best_build_is_the_avx2_one_compares_it_once(fakes, monkeypatch):
    class Avx2Only(FakeKernel):
        def __init__(self, folder, variant=None):
            super().__init__(folder, "avx2")

    monkeypatch.setattr(kt_kernel_rows, "KtKernel", Avx2Only)
    with KtKernels(print) as kernels:
        assert list(kernels.measure(SHAPE, 1)) == [BEST]
        assert list(kernels.measure(SHAPE, 1)) == [BEST]


def test_the_number_of_threads_is_restored(fakes):
    before = torch.get_num_threads()
    with KtKernels(print) as kernels:
        kernels.measure(SHAPE, 1)
    assert torch.get_num_threads() == before


def test_it_is_compared_with_the_number_of_threads_that_it_is_fastest_with():
    loaded = Loaded("avx512", "Kernel", [])
    times = KtTimes(loaded, {1: [6.0], 2: [9.0]}, {1: [4.0], 2: [2.0]}, 0.01)
    assert times.threads == 1 and times.ratio == 3.0
    assert "with 1 each 1.5x" in times.text(BEST)


@pytest.mark.parametrize(
    ("all_threads", "nodes", "counts"),
    [(1, 1, [1]), (2, 1, [1, 2]), (16, 1, [1, 15, 16]), (16, 2, [2, 15, 16])],
)
def test_one_thread_a_memory_node_is_the_least_and_one_core_may_stay_free(
    all_threads, nodes, counts
):
    assert thread_counts(all_threads, nodes) == counts


@pytest.mark.parametrize(("ratio", "missed"), [(4.9, True), (5.0, False)])
def test_less_than_five_times_kt_kernel_is_a_miss(ratio, missed):
    row = Row("row", {"ours": [1.0], "int4pack": [9.0]}, 0.7, "9 GB/s", 0.0, {BEST: ratio})
    misses = _missed_experts(row, num_tokens=1, hidden=2048)
    assert misses == (["row: 4.9x kt-kernel, want 5x; at the read limit 7.0x"] if missed else [])


def test_a_row_shows_what_was_measured_apart():
    row = Row("row", {"ours": [1.0, 1.0]}, 0.7, "9 GB/s", 0.0, {BEST: 2.34})
    assert row.text().endswith("kt-kernel 2.3x")


def test_its_process_leaves_a_real_time_policy():
    def in_a_thread_of_its_own():
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        be_ordinary()
        return os.sched_getscheduler(0)

    with ThreadPoolExecutor(1) as pool:
        try:
            assert pool.submit(in_a_thread_of_its_own).result() == os.SCHED_OTHER
        except PermissionError:
            pytest.skip("no right to a real-time policy here")
