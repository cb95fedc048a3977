"""Kimi-K2.5/K2.6/K2.7-Code's language model on SGLang's parallel layers.

The DeepSeek-V3 graph (FORMAT section 1.1): MLA attention with SGLang's backends, one dense layer,
then MoE layers of sigmoid-routed INT4 experts beside a shared expert. Residuals, norms and the
traffic between ranks are declared as stages; no submodule here sums over ranks itself. Vision
tensors are recognised by name at load and left aside.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from sglang.srt.eplb.expert_distribution import get_global_expert_distribution_recorder
from sglang.srt.eplb.expert_location import ModelConfigForExpertLocation
from sglang.srt.layers.layer_boundary import (
    append_stages,
    declare_attn,
    declare_ffn,
    get_attn_tp_context,
    is_dense_ffn_fully_dp,
)
from sglang.srt.layers.layer_boundary.residual import batch as residual_batch
from sglang.srt.layers.layernorm import RMSNorm
from sglang.srt.layers.logits_processor import LogitsProcessor
from sglang.srt.layers.utils import PPMissingLayer
from sglang.srt.layers.vocab_parallel_embedding import (
    ParallelLMHead,
    VocabParallelEmbedding,
    get_embedding_tp_kwargs,
)
from sglang.srt.models.deepseek_v2 import DeepseekV2AttentionMLA, DeepseekV2MLP
from sglang.srt.runtime_context import get_exec, get_parallel
from sglang.srt.utils import BumpAllocator, add_prefix, make_pp_layers
from torch import Tensor, nn

from ..checkpoint import is_moe_layer
from ..cpu.decoder import OneRankDecoder
from ..cpu.dense import keep_dense_weights_in_bf16
from ..cpu.mla import CpuAttentionMLA
from ..cpu.mlp import CpuMLP
from ..cpu.norm import CpuRMSNorm
from ..cpu.register import serves_on_our_cpu
from ..moe.block import KimiMoE
from ..moe.expert_location import num_physical_experts
from ..moe.weights import describe_held_experts, stand_in_for_experts
from ..weights import load_weights

logger = logging.getLogger(__name__)


class KimiDecoderLayer(nn.Module):
    """Attention and feed-forward between SGLang's stage boundaries."""

    def __init__(self, config: Any, layer_id: int, prefix: str) -> None:
        super().__init__()
        rope = rope_settings(config)
        attention_class = CpuAttentionMLA if serves_on_our_cpu() else DeepseekV2AttentionMLA
        self.self_attn = attention_class(
            config=config,
            hidden_size=config.hidden_size,
            num_heads=config.num_attention_heads,
            qk_nope_head_dim=config.qk_nope_head_dim,
            qk_rope_head_dim=config.qk_rope_head_dim,
            v_head_dim=config.v_head_dim,
            q_lora_rank=config.q_lora_rank,
            kv_lora_rank=config.kv_lora_rank,
            rope_theta=rope.pop("rope_theta"),
            rope_scaling=rope,
            max_position_embeddings=config.max_position_embeddings,
            reduce_results=False,
            layer_id=layer_id,
            prefix=add_prefix("self_attn", prefix),
        )
        self.mlp: nn.Module
        if is_moe_layer(vars(config), layer_id):
            self.mlp = KimiMoE(config, layer_id, add_prefix("mlp", prefix))
        else:
            mlp_class = CpuMLP if serves_on_our_cpu() else DeepseekV2MLP
            self.mlp = mlp_class(
                hidden_size=config.hidden_size,
                intermediate_size=config.intermediate_size,
                hidden_act=config.hidden_act,
                reduce_results=False,
                allow_fused_down=False,
                prefix=add_prefix("mlp", prefix),
                parallel_group="replicated" if is_dense_ffn_fully_dp() else "tp",
            )
        norm_class = CpuRMSNorm if serves_on_our_cpu() else RMSNorm
        self.input_layernorm = norm_class(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = norm_class(config.hidden_size, eps=config.rms_norm_eps)
        attention, feed_forward = self.stage_facts(config, layer_id)
        self.attn_boundary, self.ffn_boundary = append_stages(
            (
                attention,
                self.input_layernorm,
                {"qkv_latent_func": self.self_attn.prepare_qkv_latent},
            ),
            (feed_forward, self.post_attention_layernorm, {}),
        )

    @staticmethod
    def stage_facts(config: Any, layer_id: int) -> tuple[Any, Any]:
        """Return what this layer declares, from the config alone (pipeline neighbours ask too)."""
        return declare_attn(), declare_ffn(
            sparse=is_moe_layer(vars(config), layer_id),
            next_layer_sparse=is_moe_layer(vars(config), layer_id + 1),
        )

    def forward(
        self, positions: Tensor, hidden_states: Any, forward_batch: Any, zero_allocator: Any
    ) -> Any:
        """Return the residual stream after this layer, in the boundary's own form."""
        hidden_states = self.attn_boundary.prepare(hidden_states, forward_batch)
        hidden_states = self.self_attn(
            positions=positions,
            hidden_states=hidden_states,
            forward_batch=forward_batch,
            zero_allocator=zero_allocator,
            input_on_attn_tp_slices=self.attn_boundary.input_on_attn_tp_slices,
        )
        if isinstance(hidden_states, tuple):
            hidden_states = hidden_states[0]  # the host adds sparse-attention indices, unused here
        get_attn_tp_context().clear_attn_inputs()
        hidden_states = self.attn_boundary.finish(hidden_states, forward_batch)
        hidden_states = self.ffn_boundary.prepare(hidden_states, forward_batch)
        with self.ffn_boundary.exit(forward_batch) as leaving:
            hidden_states = self.mlp(hidden_states)
        return leaving.finish(hidden_states)


class KimiModel(nn.Module):
    """Embedding, this pipeline stage's layers, and the final norm."""

    def __init__(self, config: Any, prefix: str = "") -> None:
        super().__init__()
        self.pp_group = get_parallel().pp_group
        self.embed_tokens: nn.Module = PPMissingLayer()
        if self.pp_group.is_first_rank:
            self.embed_tokens = VocabParallelEmbedding(
                config.vocab_size, config.hidden_size, **get_embedding_tp_kwargs()
            )
        self.layers, self.start_layer, self.end_layer = make_pp_layers(
            config.num_hidden_layers,
            lambda idx, prefix: KimiDecoderLayer(config, idx, prefix),
            prefix=add_prefix("layers", prefix),
            stage_facts=lambda idx: KimiDecoderLayer.stage_facts(config, idx),
        )
        self.norm: nn.Module = PPMissingLayer(return_tuple=True)
        if self.pp_group.is_last_rank:
            norm_class = CpuRMSNorm if serves_on_our_cpu() else RMSNorm
            self.norm = norm_class(config.hidden_size, eps=config.rms_norm_eps)
        self._one_rank: OneRankDecoder | None = None

    def forget_weights(self) -> None:
        """Forget where the layers' weights lie; to be called once they changed."""
        self._one_rank = None

    def forward(
        self,
        input_ids: Tensor,
        positions: Tensor,
        forward_batch: Any,
        input_embeds: Tensor | None,
        pp_proxy_tensors: Any,
    ) -> Any:
        """Return normed hidden states [num_tokens, hidden_size], or what the next stage takes."""
        if self.pp_group.is_first_rank:
            hidden_states = self.embed_tokens(input_ids) if input_embeds is None else input_embeds
            if self._one_rank is None:
                self._one_rank = OneRankDecoder([*self.layers])
            if self._one_rank.takes(hidden_states, forward_batch):
                return self.norm(*self._one_rank.run(hidden_states, positions, forward_batch))[0]
            residual_batch.start(forward_batch)
        else:
            first = self.layers[self.start_layer]
            hidden_states = first.attn_boundary.from_pp(pp_proxy_tensors, forward_batch)
        zero_allocator = BumpAllocator(
            buffer_size=2 * (self.end_layer - self.start_layer),
            dtype=torch.float32,
            device=positions.device,
        )
        for layer_id in range(self.start_layer, self.end_layer):
            with counted_as(layer_id):
                hidden_states = self.layers[layer_id](
                    positions, hidden_states, forward_batch, zero_allocator
                )
        if not self.pp_group.is_last_rank:
            return residual_batch.to_pp(hidden_states, forward_batch)
        hidden_states = residual_batch.complete_output(hidden_states, forward_batch)
        if forward_batch.forward_mode.is_idle():
            return hidden_states
        return residual_batch.final_norm(hidden_states, forward_batch, self.norm)


class KimiK25ForConditionalGeneration(nn.Module):
    """The served model; the class name is the checkpoint's `architectures` entry."""

    def __init__(self, config: Any, quant_config: Any = None, prefix: str = "", **_: Any) -> None:
        super().__init__()
        self.config = config
        self.quant_config = quant_config
        text_config = config.text_config
        self.pp_group = get_parallel().pp_group
        self.model = KimiModel(text_config, prefix=add_prefix("model", prefix))
        self.lm_head: nn.Module = PPMissingLayer()
        if self.pp_group.is_last_rank:
            self.lm_head = ParallelLMHead(
                text_config.vocab_size,
                text_config.hidden_size,
                prefix=add_prefix("lm_head", prefix),
                use_attn_tp_group=get_parallel().enable_dp_lm_head,
            )
        self.logits_processor = LogitsProcessor(text_config)
        self.is_loaded = False
        if serves_on_our_cpu():
            keep_dense_weights_in_bf16(self)
        get_attn_tp_context().init_context(text_config.q_lora_rank, False)

    @classmethod
    def get_model_config_for_expert_location(cls, config: Any) -> ModelConfigForExpertLocation:
        """Return what SGLang places experts by (EPLB, redundant experts)."""
        text_config = config.text_config
        num_physical_experts(text_config.n_routed_experts)
        return ModelConfigForExpertLocation(
            num_layers=text_config.num_hidden_layers,
            num_logical_experts=text_config.n_routed_experts,
            num_groups=text_config.n_group,
        )

    @property
    def routed_experts_weights_of_layer(self) -> dict[int, list[Tensor]]:
        """Return the experts' tensors that SGLang's balancing (--enable-eplb) moves, by layer."""
        layers = enumerate(self.model.layers[self.start_layer : self.end_layer], self.start_layer)
        return {
            layer_id: layer.mlp.experts.weights.movable()
            for layer_id, layer in layers
            if isinstance(layer.mlp, KimiMoE)
        }

    @property
    def start_layer(self) -> int:
        """Return the first layer of this pipeline stage."""
        return int(self.model.start_layer)

    @property
    def end_layer(self) -> int:
        """Return the layer after the last one of this pipeline stage."""
        return int(self.model.end_layer)

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding of token ids."""
        return self.model.embed_tokens

    def get_embed_and_head(self) -> tuple[Any, Any]:
        """Return the weights that a draft model shares: embedding and head."""
        return self.model.embed_tokens.weight, self.lm_head.weight

    @torch.no_grad()
    def forward(
        self,
        input_ids: Tensor,
        positions: Tensor,
        forward_batch: Any,
        input_embeds: Tensor | None = None,
        pp_proxy_tensors: Any = None,
    ) -> Any:
        """Return SGLang's logits output, or the tensors for the next pipeline stage."""
        with get_attn_tp_context().maybe_input_scattered(forward_batch):
            hidden_states = self.model(
                input_ids, positions, forward_batch, input_embeds, pp_proxy_tensors
            )
        if not self.pp_group.is_last_rank:
            return hidden_states
        return self.logits_processor(input_ids, hidden_states, self.lm_head, forward_batch)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Load checkpoint tensors by their exact names; the first call must bring all of them."""
        load_weights(self, weights, must_be_complete=not self.is_loaded)
        self.is_loaded = True
        logger.info("routed experts of this rank: %s", describe_held_experts(self))
        self.post_load_weights()

    def post_load_weights(self) -> None:
        """Split kv_b_proj into the two factors of the absorbed form, per head."""
        if not self.is_loaded:
            stand_in_for_experts(self)
        self.model.forget_weights()
        for layer in self.model.layers[self.start_layer : self.end_layer]:
            attention = layer.self_attn
            per_head = attention.kv_b_proj.weight.unflatten(
                0, (-1, attention.qk_nope_head_dim + attention.v_head_dim)
            )
            w_kc, w_vc = per_head.split([attention.qk_nope_head_dim, attention.v_head_dim], dim=1)
            attention.w_kc = w_kc.transpose(1, 2).contiguous().transpose(1, 2)
            attention.w_vc = w_vc.contiguous().transpose(1, 2)


def counted_as(layer_id: int) -> AbstractContextManager[None]:
    """Count what a layer chooses where something counts; a graph takes no context of this kind."""
    if get_exec().moe.expert_distribution_recorder_mode is None:
        return nullcontext()
    recorder: Any = get_global_expert_distribution_recorder()
    counted: AbstractContextManager[None] = recorder.with_current_layer(layer_id)
    return counted


def rope_settings(config: Any) -> dict[str, Any]:
    """Return yarn settings with `rope_theta`, from either transformers version's spelling.

    Raises ValueError where the config has no yarn scaling: the attention takes its scale from it.
    """
    settings = dict(getattr(config, "rope_parameters", None) or config.rope_scaling or {})
    settings.setdefault("rope_theta", getattr(config, "rope_theta", None))
    kind = settings.get("rope_type") or settings.get("type")
    if kind != "yarn" or not settings["rope_theta"]:
        raise ValueError(
            f"text_config.rope_scaling: want type 'yarn' with a rope_theta, found {settings!r}"
        )
    return settings


EntryClass = KimiK25ForConditionalGeneration
