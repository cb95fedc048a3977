"""What DP attention does between ranks runs on the CPU without SGLang's CPU engine."""

import pkgutil
from types import SimpleNamespace

import pytest
import torch

from sglang_kimi.cpu.data_parallel import prepare_data_parallel, reduce_scatter_rows
from sglang_kimi.seams import CPU_SEAMS, SeamError, substitute


class Group(SimpleNamespace):
    """Two ranks of which the other one holds ones."""

    world_size = 2

    def all_reduce(self, tensor):
        return tensor.add_(1)


def test_each_rank_gets_its_own_rows_of_the_sum():
    rows = torch.arange(10.0).view(5, 2)
    first = reduce_scatter_rows(Group(rank_in_group=0), rows, sizes=[2, 3])
    second = reduce_scatter_rows(Group(rank_in_group=1), rows, sizes=[2, 3])
    assert torch.equal(torch.cat([first, second]), rows + 1)


def test_what_is_summed_stays_as_it_was():
    rows = torch.arange(4.0).view(4, 1)
    output = torch.empty(2, 1)
    assert reduce_scatter_rows(Group(rank_in_group=1), rows, output) is output
    assert output.tolist() == [[3], [4]] and rows[:, 0].tolist() == [0, 1, 2, 3]


def test_a_rank_without_rows_gets_none():
    rows = torch.ones(3, 2)
    assert reduce_scatter_rows(Group(rank_in_group=0), rows, sizes=[0, 3]).shape == (0, 2)


def test_sizes_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match=r"sizes: want them to add up to 3 rows, got \[1, 1\]"):
        reduce_scatter_rows(Group(rank_in_group=0), torch.ones(3, 2), sizes=[1, 1])


@pytest.fixture
def restored(monkeypatch):
    """Put back what a test substitutes."""
    for name in ("batch_is_cpu", "collectives_are_cpu", "dp_copy", "reduce_scatterv"):
        owner, _, attribute = CPU_SEAMS[name].target.rpartition(".")
        found = pkgutil.resolve_name(owner)
        monkeypatch.setattr(found, attribute, getattr(found, attribute))


def test_sglang_is_told_that_it_runs_on_a_cpu(restored):
    from sglang.srt.distributed import parallel_state
    from sglang.srt.layers import dp_attention
    from sglang.srt.model_executor import forward_batch_info

    prepare_data_parallel()
    assert parallel_state._is_cpu and forward_batch_info._is_cpu
    assert dp_attention.memcpy_func is dp_attention.memcpy_cpu
    assert parallel_state.GroupCoordinator.reduce_scatterv is reduce_scatter_rows


def test_nothing_is_substituted_where_sglang_has_changed(monkeypatch):
    monkeypatch.setitem(
        CPU_SEAMS, "dp_copy", CPU_SEAMS["dp_copy"].__class__("sglang.srt.gone.x", (), "a.py", "b")
    )
    monkeypatch.setattr("sglang_kimi.seams.SEAMS", CPU_SEAMS)
    with pytest.raises(SeamError, match=r"sglang\.srt\.gone\.x"):
        substitute("dp_copy", None)
