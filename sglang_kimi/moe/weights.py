"""How one rank holds its share of a MoE layer's routed experts, and loads it from the checkpoint.

Experts are split by `ep_rank`, each expert's intermediate dimension by `moe_tp_rank`. The packed
codes and scales stay as they are on disk: whole experts on the CPU as mapped tensors in the place
where they lie in their files, others copied into four stacked parameters (see `placement`).
"""

from __future__ import annotations

from typing import Any, Final

import torch
from sglang.srt.runtime_context import get_parallel
from torch import Tensor, nn

from sglang_kimi.kernels.moe.int4 import (
    GROUP_SIZE,
    AnyInt4Experts,
    Int4Experts,
    SeparateInt4Experts,
    moe_int4,
)
from sglang_kimi.kernels.moe.int4_gpu import MOE_KERNEL

from ..checkpoint import EXPERT_PROJECTIONS, NIBBLES_PER_WORD, CheckpointError
from ..mapped_shard import MappedTensor
from .expert_location import experts_move, local_experts, local_slots
from .host import moe_int4_on_host, use_cores
from .marlin import MarlinExperts, marlin_is_chosen
from .placement import experts_lie_apart

KINDS: Final = ("weight_packed", "weight_scale")


class ExpertWeights(nn.Module):
    """This rank's share of `n_routed_experts` SwiGLU experts.

    hidden_size, moe_intermediate_size: as in config.json; the latter divided by moe_tp_size must
    stay a multiple of the group size, else ValueError at construction.
    """

    def __init__(self, config: Any, layer_id: int) -> None:
        super().__init__()
        parallel = get_parallel()
        self.layer_id = layer_id
        self.tp_rank: int = parallel.moe_tp_rank
        self.tp_size: int = parallel.moe_tp_size
        self.num_experts: int = config.n_routed_experts
        self.num_local_experts = len(local_experts(self.num_experts, layer_id))
        self._slots = local_slots(self.num_experts, layer_id)
        self.hidden_size: int = config.hidden_size
        self.intermediate_size = intermediate_share(config)
        self._apart: dict[tuple[str, str], list[Tensor | None]] | None = None
        self._packed: AnyInt4Experts | None = None
        self.marlin: MarlinExperts | None = None
        device_type = torch.get_default_device().type
        self._is_beside_gpu = device_type != "cpu"
        if experts_lie_apart(layer_id, device_type, self.tp_size) and not experts_move():
            self._apart = {
                (projection, kind): [None] * self.num_local_experts
                for projection in EXPERT_PROJECTIONS
                for kind in KINDS
            }
        else:
            self._make_stacked()

    @property
    def slots(self) -> dict[int, list[int]]:
        """Return under which local numbers this rank holds an expert, by the checkpoint's number.

        More than one where the placement repeats it.
        """
        if experts_move():
            self._slots = local_slots(self.num_experts, self.layer_id)
        return self._slots

    @property
    def lie_apart(self) -> bool:
        """Say whether each expert's tensors are kept one by one on the CPU (see `placement`)."""
        return self._apart is not None

    def movable(self) -> list[Tensor]:
        """Return the stacked tensors, [num_local_experts, ...], whose rows SGLang may exchange."""
        return [self.w13, self.w13_scale, self.w2, self.w2_scale]

    def _make_stacked(self) -> None:
        hidden, inter, num = self.hidden_size, self.intermediate_size, self.num_local_experts
        self.w13 = _parameter(num, 2 * inter, hidden // NIBBLES_PER_WORD, dtype=torch.int32)
        self.w13_scale = _parameter(num, 2 * inter, hidden // GROUP_SIZE, dtype=torch.bfloat16)
        self.w2 = _parameter(num, hidden, inter // NIBBLES_PER_WORD, dtype=torch.int32)
        self.w2_scale = _parameter(num, hidden, inter // GROUP_SIZE, dtype=torch.bfloat16)

    def packed(self) -> AnyInt4Experts:
        """Return the weights as the kernels take them; RuntimeError before all are loaded."""
        if self._packed is None:
            self._packed = self._pack()
        return self._packed

    def _pack(self) -> AnyInt4Experts:
        if self._apart is None:
            return Int4Experts(self.w13, self.w13_scale, self.w2, self.w2_scale)
        gate, gate_scale, up, up_scale, down, down_scale = (
            self._loaded(projection, kind) for projection in EXPERT_PROJECTIONS for kind in KINDS
        )
        if self._is_beside_gpu:
            parallel = get_parallel()
            use_cores(parallel.tp_size * parallel.pp_size // parallel.nnodes)
        return SeparateInt4Experts(gate, gate_scale, up, up_scale, down, down_scale)

    def _loaded(self, projection: str, kind: str) -> list[Tensor]:
        assert self._apart is not None
        tensors = self._apart[projection, kind]
        loaded = [tensor for tensor in tensors if tensor is not None]
        if len(loaded) < len(tensors):
            raise RuntimeError(
                f"layer {self.layer_id}: {len(tensors) - len(loaded)} of its experts have no "
                f"{projection}.{kind}; the loader must bring all tensors of the checkpoint "
                "(--load-format auto or safetensors does)"
            )
        return loaded

    def choose_kernel(self, dtype: torch.dtype, *, is_standard: bool) -> None:
        """Take SGLang's Marlin where it is chosen (see `marlin_is_chosen`), once all is loaded."""
        if self._apart is not None or self.marlin is not None:
            return
        sizes = (self.hidden_size, self.intermediate_size)
        is_standard = is_standard and not experts_move()
        if marlin_is_chosen(self.w13.device, dtype, sizes, is_standard=is_standard):
            experts = self._pack()
            assert isinstance(experts, Int4Experts)
            self.marlin = MarlinExperts(experts)
            self._packed = None
            del self.w13, self.w13_scale, self.w2, self.w2_scale

    def run(self, hidden_states: Tensor, local_ids: Tensor, topk_weights: Tensor) -> Tensor:
        """Run this rank's experts on the tokens it received, wherever the experts lie.

        Arguments and result as of `moe_int4`; local_ids counts this rank's slots.
        """
        if self.marlin is not None:
            return self.marlin.run(hidden_states, local_ids, topk_weights)
        experts = self.packed()
        lies_elsewhere = self._apart is not None and hidden_states.device.type != "cpu"
        experts_sum = moe_int4_on_host if lies_elsewhere else moe_int4
        return experts_sum(hidden_states, experts, local_ids, topk_weights)

    def wants(self, expert_id: int) -> bool:
        """Say whether this rank holds expert `expert_id` (global number)."""
        return expert_id in self.slots

    def held_bytes(self) -> tuple[int, int]:
        """Return how many bytes of experts are mapped from files and how many are in memory."""
        held: list[Tensor] = [*self.parameters()]
        for tensors in (self._apart or {}).values():
            held += [tensor for tensor in tensors if tensor is not None]
        mapped = sum(tensor.nbytes for tensor in held if isinstance(tensor, MappedTensor))
        return mapped, sum(tensor.nbytes for tensor in held) - mapped

    def load(self, expert_id: int, projection: str, kind: str, tensor: Tensor) -> None:
        """Take this rank's part of one whole checkpoint tensor.

        projection: gate_proj, up_proj or down_proj; kind: weight_packed, weight_scale or
        weight_shape (outputs and inputs, compared and not kept; of mapped ones only the rank's
        first expert's). A MappedTensor is kept as it is where experts lie apart; anything else is
        copied, and may be reused by the caller.
        """
        if not self.wants(expert_id):
            return
        if self.marlin is not None:
            raise RuntimeError(
                f"layer {self.layer_id}: its experts are in Marlin's layout and take no new "
                f"weights; start with {MOE_KERNEL}=triton to update weights of a running server"
            )
        is_mapped = isinstance(tensor, MappedTensor)
        if kind == "weight_shape":
            # Each one is eight bytes on a page of its own: 70,000 reads of the disk at full size.
            if not is_mapped or expert_id == min(self.slots):
                self._check_shape(expert_id, projection, tensor)
            return
        if self._apart is not None and not is_mapped:
            tensor = tensor.to("cpu", copy=True).contiguous()
        for slot in self.slots[expert_id]:
            if self._apart is None:
                self._part(slot, projection, kind).copy_(self._own_slice(projection, kind, tensor))
            else:
                self._apart[projection, kind][slot] = tensor
        self._packed = None

    def _check_shape(self, expert_id: int, projection: str, tensor: Tensor) -> None:
        wanted = [self.intermediate_size * self.tp_size, self.hidden_size]
        if tensor.tolist() != (wanted[::-1] if projection == "down_proj" else wanted):
            raise CheckpointError(
                f"experts.{expert_id}.{projection}.weight_shape holds {tensor.tolist()}, "
                f"expected (outputs, inputs) of {wanted} or its reverse for down_proj"
            )

    def _own_slice(self, projection: str, kind: str, tensor: Tensor) -> Tensor:
        """Return this rank's rows of gate or up, columns of down."""
        width = self.intermediate_size
        if projection != "down_proj":
            return tensor[self.tp_rank * width : (self.tp_rank + 1) * width]
        width //= GROUP_SIZE if kind == "weight_scale" else NIBBLES_PER_WORD
        return tensor[:, self.tp_rank * width : (self.tp_rank + 1) * width]

    def _part(self, slot: int, projection: str, kind: str) -> Tensor:
        """Return where a stacked parameter keeps one projection of a local expert."""
        suffix = "_scale" if kind == "weight_scale" else ""
        if projection == "down_proj":
            return getattr(self, f"w2{suffix}").data[slot]  # type: ignore[no-any-return]
        start = EXPERT_PROJECTIONS.index(projection) * self.intermediate_size
        rows = slice(start, start + self.intermediate_size)
        return getattr(self, f"w13{suffix}").data[slot, rows]  # type: ignore[no-any-return]

    def stand_in(self) -> None:
        """Hold zeros where no checkpoint is read (--load-format dummy)."""
        if self._apart is not None:
            self._apart = None
            self._make_stacked()


def intermediate_share(config: Any) -> int:
    """Return this rank's part of every expert's width; ValueError where it cannot be split."""
    num_ranks = get_parallel().moe_tp_size
    value = config.moe_intermediate_size
    if value % (num_ranks * GROUP_SIZE):
        raise ValueError(
            f"moe_intermediate_size={value} cannot be split over {num_ranks} ranks in multiples of "
            f"{GROUP_SIZE}; use a --tp-size / --ep-size that divides it"
        )
    return int(value // num_ranks)


def describe_held_experts(model: nn.Module) -> str:
    """Return how much of the routed experts this rank holds, and how, for the log."""
    held = [module.held_bytes() for module in model.modules() if isinstance(module, ExpertWeights)]
    mapped, copied = sum(pair[0] for pair in held), sum(pair[1] for pair in held)
    return f"{len(held)} layers, {mapped / 1e9:.3f} GB mapped, {copied / 1e9:.3f} GB in memory"


def stand_in_for_experts(model: nn.Module) -> None:
    """Give every layer's experts zeros, where no checkpoint is read."""
    for module in model.modules():
        if isinstance(module, ExpertWeights):
            module.stand_in()


def _parameter(*shape: int, dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape, dtype=dtype), requires_grad=False)
