"""How a rank holds its experts: mapped where they are whole and on the CPU, else copied."""

import json
from types import SimpleNamespace

import pytest
import torch

from sglang_kimi.checkpoint import CheckpointError, text_tensors
from sglang_kimi.environment import CPU_EXPERT_LAYERS
from sglang_kimi.mapped_shard import MappedTensor, mapped_text_tensors
from sglang_kimi.moe import expert_location, weights
from sglang_kimi.moe.host import moe_int4_on_host
from sglang_kimi.moe.placement import check_cpu_expert_layers, experts_lie_apart
from sglang_kimi.moe.weights import ExpertWeights, describe_held_experts
from sglang_kimi.weights import EXPERT

LAYER = "language_model.model.layers.1.mlp.experts."


@pytest.fixture
def text_config(mini_checkpoint):
    return json.loads((mini_checkpoint / "config.json").read_text())["text_config"]


@pytest.fixture
def stored(mini_checkpoint):
    """The mapped tensors of layer 1's experts, by absolute name."""
    return {
        name: tensor
        for shard in sorted(mini_checkpoint.glob("*.safetensors"))
        for name, tensor in mapped_text_tensors(shard)
        if name.startswith(LAYER)
    }


@pytest.fixture
def rank(text_config, monkeypatch):
    """Make the experts of layer 1 as one rank of several holds them."""

    def make(ep_rank=0, ep_size=1, tp_rank=0, tp_size=1, num_redundant=0, they_move=False):
        parallel = SimpleNamespace(
            moe_ep_rank=ep_rank, moe_ep_size=ep_size, moe_tp_rank=tp_rank, moe_tp_size=tp_size
        )
        for module in (weights, expert_location):
            monkeypatch.setattr(module, "get_parallel", lambda: parallel)
        moe = SimpleNamespace(ep_num_redundant_experts=num_redundant, enable_eplb=they_move)
        monkeypatch.setattr(expert_location, "get_exec", lambda: SimpleNamespace(moe=moe))
        return ExpertWeights(SimpleNamespace(**text_config), 1)

    return make


def load(experts, tensors):
    for name, tensor in tensors.items():
        match = EXPERT.fullmatch(name.removeprefix("language_model."))
        experts.load(int(match[2]), match[3], match[4], tensor)


def plain(tensors):
    return {name: tensor.clone() for name, tensor in tensors.items()}


def run(experts, num_tokens=40):  # every expert is met
    generator = torch.Generator().manual_seed(num_tokens)
    num = experts.num_local_experts
    x = torch.randn(num_tokens, experts.hidden_size, generator=generator)
    ids = torch.randint(-1, num, (num_tokens, 4), generator=generator)
    return experts.run(x, ids, torch.rand(num_tokens, 4, generator=generator))


def stored_bytes(text_config):
    return sum(
        spec.num_bytes
        for name, spec in text_tensors(text_config).items()
        if name.startswith(LAYER) and not name.endswith("weight_shape")
    )


@pytest.mark.parametrize("num_tokens", [1, 5, 40])
def test_mapped_experts_give_bit_for_bit_what_copied_and_stacked_ones_give(
    rank, stored, monkeypatch, num_tokens
):
    mapped = rank()
    load(mapped, stored)
    copied = rank()
    load(copied, plain(stored))
    monkeypatch.setattr(weights, "experts_lie_apart", lambda *_: False)
    stacked = rank()
    load(stacked, stored)
    expected = run(stacked, num_tokens)
    assert torch.equal(run(mapped, num_tokens), expected)
    assert torch.equal(run(copied, num_tokens), expected)


def test_a_redundant_expert_is_loaded_into_each_of_its_slots(rank, stored, text_config):
    num_experts = text_config["n_routed_experts"]
    experts = rank(num_redundant=num_experts)
    load(experts, stored)
    for slot in (3, num_experts + 3):
        up = experts.packed().one(slot).up
        assert torch.equal(up, stored[f"{LAYER}3.up_proj.weight_packed"])
    assert experts.slots[3] == [3, num_experts + 3]


def test_experts_that_sglang_moves_between_ranks_are_copied_and_stacked(rank, stored):
    experts = rank(they_move=True)
    load(experts, stored)
    mapped, copied = experts.held_bytes()
    assert mapped == 0 and copied == sum(tensor.nbytes for tensor in experts.movable())
    assert {len(tensor) for tensor in experts.movable()} == {experts.num_local_experts}


def test_mapped_experts_are_the_files_own_bytes_and_take_no_memory(rank, stored, text_config):
    experts = rank()
    load(experts, stored)
    assert experts.held_bytes() == (stored_bytes(text_config), 0)
    expert = experts.packed().one(3)
    assert isinstance(expert.up, MappedTensor)
    assert expert.up.data_ptr() == stored[f"{LAYER}3.up_proj.weight_packed"].data_ptr()


@pytest.mark.parametrize(("ep_size", "tp_size"), [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (1, 4)])
def test_every_rank_holds_its_share_and_all_ranks_the_whole(
    rank, stored, text_config, ep_size, tp_size
):
    whole = stored_bytes(text_config)
    for ep_rank in range(ep_size):
        for tp_rank in range(tp_size):
            experts = rank(ep_rank, ep_size, tp_rank, tp_size)
            load(experts, stored)
            share = whole // (ep_size * tp_size)
            assert experts.held_bytes() == ((share, 0) if tp_size == 1 else (0, share))


@pytest.mark.parametrize("tp_size", [1, 2])
def test_an_updated_expert_is_copied_and_used(rank, stored, tp_size):
    experts = rank(tp_size=tp_size)
    load(experts, stored)
    before = run(experts)
    name = f"{LAYER}2.down_proj.weight_scale"
    update = stored[name] * 2
    load(experts, {name: update})
    after = run(experts)
    assert not torch.equal(after, before)
    update.zero_()  # SGLang reuses the memory of what it hands out
    assert torch.equal(run(experts), after)
    load(experts, {name: stored[name]})
    assert torch.equal(run(experts), before)


def test_the_copied_bytes_of_an_update_are_told_apart(rank, stored):
    experts = rank()
    load(experts, stored)
    name = f"{LAYER}2.down_proj.weight_packed"
    load(experts, {name: stored[name].clone()})
    mapped, copied = experts.held_bytes()
    assert copied == stored[name].nbytes
    assert describe_held_experts(experts) == (
        f"1 layers, {mapped / 1e9:.3f} GB mapped, {copied / 1e9:.3f} GB in memory"
    )


@pytest.mark.parametrize(("expert_id", "is_mapped"), [(0, True), (0, False), (5, False)])
def test_a_shape_that_is_not_the_tensors_is_refused(rank, mini_checkpoint, expert_id, is_mapped):
    experts = rank()
    name, shape = next(
        (name, tensor)
        for shard in sorted(mini_checkpoint.glob("*.safetensors"))
        for name, tensor in mapped_text_tensors(shard)
        if name == "language_model.model.layers.1.mlp.experts.0.down_proj.weight_shape"
    )
    shape = shape if is_mapped else shape.clone()
    load(experts, {name.replace(".0.", f".{expert_id}."): shape})
    with pytest.raises(
        CheckpointError, match=rf"experts\.{expert_id}\.up_proj\.weight_shape holds"
    ):
        experts.load(expert_id, "up_proj", "weight_shape", shape)


def test_experts_that_no_file_brought_are_named_when_they_are_first_used(rank, stored):
    experts = rank()
    del stored[f"{LAYER}7.up_proj.weight_scale"]
    load(experts, stored)
    with pytest.raises(RuntimeError, match=r"layer 1: 1 of its experts have no up_proj\.weight_sc"):
        run(experts)


def test_without_a_checkpoint_experts_are_zeros(rank):
    experts = rank()
    experts.stand_in()
    assert not run(experts).any()


def test_experts_beside_another_device_give_the_same_through_host_memory(rank, stored):
    experts = rank()
    load(experts, stored)
    x = torch.randn(6, 2 * experts.hidden_size, generator=torch.Generator().manual_seed(3))
    x = x[:, ::2].bfloat16()
    ids, expert_weights = torch.arange(24).view(6, 4) % 16, torch.full((6, 4), 0.25)
    output = moe_int4_on_host(x, experts.packed(), ids, expert_weights)
    assert output.dtype == x.dtype
    assert torch.equal(output, experts.run(x, ids, expert_weights))


def test_tokens_on_another_device_go_through_host_memory(rank, stored, monkeypatch):
    experts = rank()
    load(experts, stored)
    monkeypatch.setattr(weights, "moe_int4_on_host", lambda *arguments: arguments)
    x = torch.empty(2, experts.hidden_size, device="meta")
    assert experts.run(x, None, None)[:2] == (x, experts.packed())


def test_on_a_gpu_only_the_named_layers_stay_on_the_cpu(monkeypatch):
    assert not experts_lie_apart(3, "cuda", 1)
    monkeypatch.setenv(CPU_EXPERT_LAYERS, "1, 3-5")
    assert [layer for layer in range(8) if experts_lie_apart(layer, "cuda", 1)] == [1, 3, 4, 5]
    assert experts_lie_apart(2, "cpu", 1)
    assert not experts_lie_apart(3, "cpu", 2)
    with pytest.raises(ValueError, match=r"cannot be split over 2 ranks.*--ep-size"):
        experts_lie_apart(3, "cuda", 2)


@pytest.mark.parametrize("text", ["a", "3-", "-3", "1,,2", "3:5", "99999999999", "1-99999999999"])
def test_a_value_that_is_no_list_of_layers_is_refused(monkeypatch, text):
    monkeypatch.setenv(CPU_EXPERT_LAYERS, text)
    with pytest.raises(ValueError, match=f"{CPU_EXPERT_LAYERS}: want layers and ranges.*1,5,30-60"):
        experts_lie_apart(3, "cuda", 1)


def test_a_range_that_ends_before_it_begins_is_refused(monkeypatch):
    monkeypatch.setenv(CPU_EXPERT_LAYERS, "1,5-3")
    with pytest.raises(ValueError, match="5-3 ends before it begins"):
        experts_lie_apart(3, "cuda", 1)


def test_layers_that_the_model_does_not_have_and_graphs_are_refused(monkeypatch, text_config):
    check_cpu_expert_layers(text_config, has_graphs=True)
    monkeypatch.setenv(CPU_EXPERT_LAYERS, "1-3")
    check_cpu_expert_layers(text_config, has_graphs=False)
    with pytest.raises(ValueError, match="--disable-cuda-graph"):
        check_cpu_expert_layers(text_config, has_graphs=True)
    for text in ("0-2", "2-4"):
        monkeypatch.setenv(CPU_EXPERT_LAYERS, text)
        with pytest.raises(ValueError, match=r"layer [04] has no routed experts.*1 to 3"):
            check_cpu_expert_layers(text_config, has_graphs=False)
