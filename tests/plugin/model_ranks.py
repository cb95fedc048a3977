"""The model on several gloo ranks, step by step, without a server around them.

Ranks are forked from a process that has imported SGLang already, which spares each its own twenty
seconds. `greedy_tokens` drives the model as a scheduler does: with DP attention a rank without
requests takes part with idle batches.
"""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Any

import sglang.srt.models.deepseek_v2  # noqa: F401  imported once, before the ranks are forked
import torch
from sglang.benchmark import one_batch
from sglang.srt.eplb.expert_location import ExpertLocationMetadata
from sglang.srt.eplb.expert_location_updater import ExpertLocationUpdater
from sglang.srt.managers.schedule_batch import Req, ScheduleBatch
from sglang.srt.managers.scheduler_components.dp_attn import prepare_mlp_sync_batch_raw
from sglang.srt.model_executor.forward_batch_info import ForwardBatch
from sglang.srt.plugins import load_plugins
from sglang.srt.runtime_context import SpawnRanks, get_parallel, publish
from sglang.srt.sampling.sampling_params import SamplingParams
from sglang.srt.server_args import prepare_server_args
from sglang.srt.speculative.spec_info import SpeculativeAlgorithm

from sglang_kimi.launch.server_process import free_port
from sglang_kimi.moe.weights import ExpertWeights
from tests.moe.rank_processes import run_ranks


def greedy_on_ranks(
    num_ranks: int,
    flags: list[str],
    prompts: list[list[list[int]]],
    num_tokens: int,
    move_to: list[int] | None = None,
    *,
    watched: bool = False,
) -> list[dict[str, Any]]:
    """Return each rank's answer: `tokens`, and the `expert_bytes` that it holds.

    flags: as the server takes them; prompts: the requests of each rank, the same ones on every
    rank unless attention is data parallel. move_to: the expert of each slot after SGLang has
    moved them between ranks; the tokens chosen after that are `moved_tokens`. watched: choose
    again with a forward hook on a part of a layer, which counts `seen` calls.
    """
    port = free_port()
    return run_ranks(num_ranks, answer, flags, port, prompts, num_tokens, move_to, watched)


def answer(
    flags: list[str],
    port: int,
    prompts: list[list[list[int]]],
    num_tokens: int,
    move_to: list[int] | None,
    watched: bool,
) -> dict[str, Any]:
    """On one rank: load the model, then prefill and decode this rank's prompts together."""
    rank = torch.distributed.get_rank()
    torch.distributed.destroy_process_group()  # SGLang makes its own
    runner = load(flags, port, rank)
    steps = Steps(runner)
    tokens = steps.greedy(prompts[rank], num_tokens)
    result = {"tokens": tokens, "expert_bytes": expert_bytes(runner.model)}
    result["in_one_call"] = is_in_one_call(runner)
    if watched:
        result |= {"logits": steps.logits} | watch(runner, prompts[rank], num_tokens)
    if move_to is not None:
        move_experts(runner, move_to)
        result["moved_tokens"] = Steps(runner).greedy(prompts[rank], num_tokens)
    return result


def watch(runner: Any, prompts: list[list[int]], num_tokens: int) -> dict[str, Any]:
    """Choose tokens again while somebody watches a layer's MLP."""
    seen: list[None] = []
    model = runner.model.model
    model.layers[1].mlp.register_forward_hook(lambda *_: seen.append(None))
    model.forget_weights()
    forget_requests(runner)
    steps = Steps(runner)
    tokens = steps.greedy(prompts, num_tokens)
    result = {"watched_tokens": tokens, "watched_logits": steps.logits, "seen": len(seen)}
    return result | {"watched_in_one_call": is_in_one_call(runner)}


def is_in_one_call(runner: Any) -> bool:
    """Say whether decode steps ran a layer in one call."""
    return bool(runner.model.model._one_rank.is_fit)


def forget_requests(runner: Any) -> None:
    runner.req_to_token_pool.clear()
    runner.token_to_kv_pool_allocator.clear()


def move_experts(runner: Any, move_to: list[int]) -> None:
    """Let SGLang's balancing put other experts into the ranks' slots, and forget all requests."""
    layers = runner.model.routed_experts_weights_of_layer
    placement = ExpertLocationMetadata.init_by_mapping(
        runner.model_config,
        physical_to_logical_map=[move_to] * runner.model_config.num_hidden_layers,
        moe_ep_rank=get_parallel().moe_ep_rank,
    )
    ExpertLocationUpdater().update(
        layers, placement, update_layer_ids=sorted(layers), nnodes=1, rank=get_parallel().tp_rank
    )
    forget_requests(runner)


def load(flags: list[str], port: int, rank: int) -> Any:
    """Return SGLang's model runner of this rank; the ranks meet at `port`."""
    torch._dynamo.config.disable = True  # read from the environment when torch was imported
    load_plugins()
    server_args = prepare_server_args(flags)
    server_args.resolve_once()
    publish(server_args, role="scheduler", ranks=SpawnRanks(world_rank=rank, gpu_id=0))
    one_batch._init_process_global_configs()
    runner, _ = one_batch.load_model(server_args, SimpleNamespace(nccl_port=port), 0, rank)
    return runner.torch_runner


class Steps:
    """Prefill and decode on one rank; logits: the last step's, [num_requests, vocab_size]."""

    def __init__(self, runner: Any) -> None:
        self.runner = runner

    def greedy(self, prompts: list[list[int]], num_tokens: int) -> list[list[int]]:
        """Return `num_tokens` greedy tokens for each prompt."""
        batch = self.prefill_batch(prompts) if prompts else None
        chosen = [self.step(batch)]
        for _ in range(num_tokens - 1):
            if batch is not None:
                batch.input_ids = chosen[-1].to(torch.int64)
                batch.prepare_for_decode()
            chosen.append(self.step(batch))
        return torch.stack(chosen, dim=1).tolist()

    def prefill_batch(self, prompts: list[list[int]]) -> Any:
        batch = self.new_batch([request(number, ids) for number, ids in enumerate(prompts)])
        batch.prepare_for_extend()
        if batch.input_ids is None:
            batch.input_ids, batch.prefill_input_ids_cpu = batch.prefill_input_ids_cpu, None
        return batch

    def new_batch(self, requests: list[Any]) -> Any:
        return ScheduleBatch.init_new(
            reqs=requests,
            req_to_token_pool=self.runner.req_to_token_pool,
            token_to_kv_pool_allocator=self.runner.token_to_kv_pool_allocator,
            tree_cache=one_batch.TreeCacheNamespace(
                page_size=1,
                device=self.runner.device,
                token_to_kv_pool_allocator=self.runner.token_to_kv_pool_allocator,
            ),
            model_config=self.runner.model_config,
            enable_overlap=False,
            spec_algorithm=SpeculativeAlgorithm.NONE,
        )

    def idle_batch(self) -> Any:
        batch = self.new_batch([])
        batch.prepare_for_idle()
        return batch

    @torch.no_grad()
    def step(self, batch: Any) -> torch.Tensor:
        """Run the model once and return the greedy token of each request."""
        if one_batch.require_mlp_sync():
            batch = self.agree_on_sizes(batch)
        forward = ForwardBatch.init_new(batch, self.runner, return_hidden_states_before_norm=False)
        output = self.runner.forward(forward).logits_output
        if forward.forward_mode.is_idle():
            return torch.empty(0, dtype=torch.int64)
        self.logits = output.next_token_logits.tolist()
        return output.next_token_logits.argmax(dim=-1)

    def agree_on_sizes(self, batch: Any) -> Any:
        return prepare_mlp_sync_batch_raw(
            batch,
            model_runner=self.runner,
            get_idle_batch=self.idle_batch,
            disable_cuda_graph=True,
            require_mlp_tp_gather=one_batch.require_mlp_tp_gather(),
            disable_overlap_schedule=True,
            offload_tags=set(),
        )


def request(number: int, ids: list[int]) -> Any:
    """Return a request whose whole prompt is to be prefilled."""
    made = Req(
        rid=str(number),
        origin_input_text="",
        origin_input_ids=array("q", ids),
        sampling_params=SamplingParams(temperature=0, max_new_tokens=1 << 20),
    )
    made.full_untruncated_fill_ids = made.origin_input_ids
    made.logprob_start_len = -1
    made.extend_end = len(ids)
    return made


def expert_bytes(model: Any) -> int:
    """Return the bytes of routed experts that this rank holds, mapped or in memory."""
    held = [module for module in model.modules() if isinstance(module, ExpertWeights)]
    return sum(sum(experts.held_bytes()) for experts in held)
