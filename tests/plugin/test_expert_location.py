"""A rank's slots follow SGLang's placement of experts, redundant ones included."""

from types import SimpleNamespace

import pytest
import torch

from sglang_kimi.moe import expert_location
from sglang_kimi.moe.expert_location import local_experts, num_physical_experts


@pytest.fixture
def place(monkeypatch):
    """Set the widths, the redundant experts and the map (None: no placement) of layer 1."""

    def place(ep_size=1, ep_rank=0, num_redundant=0, layer_map=None):
        parallel = SimpleNamespace(moe_ep_size=ep_size, moe_ep_rank=ep_rank)
        flags = SimpleNamespace(
            moe=SimpleNamespace(ep_num_redundant_experts=num_redundant, enable_eplb=False)
        )
        metadata = None
        if layer_map is not None:
            maps = torch.tensor([[0] * len(layer_map), layer_map])
            metadata = SimpleNamespace(physical_to_logical_map_cpu=maps)
        monkeypatch.setattr(expert_location, "get_parallel", lambda: parallel)
        monkeypatch.setattr(expert_location, "get_exec", lambda: flags)
        monkeypatch.setattr(
            expert_location, "get_global_expert_location_metadata", lambda: metadata
        )

    return place


def test_without_a_placement_ranks_hold_consecutive_blocks(place):
    place(ep_size=4, ep_rank=2)
    assert local_experts(8, layer_id=1) == (4, 5)


def test_redundant_experts_repeat_the_first_ones_where_nothing_else_is_placed(place):
    place(ep_size=2, ep_rank=1, num_redundant=2)
    assert local_experts(4, layer_id=1) == (3, 0, 1)


def test_a_placement_is_followed_layer_by_layer(place):
    place(ep_size=2, ep_rank=0, num_redundant=2, layer_map=[3, 3, 0, 1, 2, 0])
    assert local_experts(4, layer_id=1) == (3, 3, 0)
    assert local_experts(4, layer_id=0) == (0, 0, 0)


def test_experts_that_cannot_be_dealt_out_evenly_are_refused_with_the_flags_to_change(place):
    place(ep_size=4, num_redundant=3)
    with pytest.raises(ValueError, match=r"=8 and --ep-num-redundant-experts 3 .* over 4 ranks"):
        num_physical_experts(8)
    place(ep_size=3)
    with pytest.raises(ValueError, match="n_routed_experts=8 cannot be split over 3 ranks"):
        num_physical_experts(8)
