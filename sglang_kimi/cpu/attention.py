"""MLA attention for the CPU platform, in the place of SGLang's "torch_native" for MLA models.

The name is kept: SGLang switches graphs off and picks torch forms of its helpers by it. In-tree
torch_native pads every query to the whole sequence and holds all scores at once, so a long prompt
ends the process; ours takes blocks.
"""

from __future__ import annotations

from typing import Any

import torch

from sglang_kimi.kernels.mla.absorbed import mla_absorbed_batch
from sglang_kimi.kernels.mla.layer import MlaStep, mla_layer

from ..seams import require
from .data_parallel import prepare_data_parallel
from .long_prompt import attend_expanded


def register_attention() -> None:
    """Put our MLA backend behind "torch_native" and choose the absorbed MLA form for it."""
    from sglang.srt.models.deepseek_common.attention_forward_methods.forward_methods import (
        AttnForwardMethod,
    )

    require("mla_forward_method")("torch_native", lambda attn, batch: AttnForwardMethod.MLA)
    registered = require("attention_backends_table")
    in_tree = registered["torch_native"]

    def create(runner: Any) -> Any:
        prepare_data_parallel()
        return create_mla_backend(runner) if runner.use_mla_backend else in_tree(runner)

    registered["torch_native"] = create


def create_mla_backend(runner: Any) -> Any:
    """Return the attention backend of one model runner."""
    from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend
    from sglang.srt.mem_cache.memory_pool import KVWriteLoc

    class KimiCpuMlaBackend(TorchNativeAttnBackend):  # type: ignore[misc]
        """Absorbed MLA over the latent cache, one call for all sequences of a step."""

        def get_cuda_graph_seq_len_fill_value(self) -> int:
            """Return the length of padded sequences (asked even where graphs are off)."""
            return 1

        get_cpu_graph_seq_len_fill_value = get_cuda_graph_seq_len_fill_value

        def forward_extend(self, q: Any, k: Any, v: Any, layer: Any, batch: Any, **kw: Any) -> Any:
            return self._forward(q, k, v, layer, batch, batch.extend_seq_lens, **kw)

        def forward_decode(self, q: Any, k: Any, v: Any, layer: Any, batch: Any, **kw: Any) -> Any:
            return self._forward(q, k, v, layer, batch, None, **kw)

        def forward_layer(
            self, attention: Any, latents: torch.Tensor, positions: torch.Tensor, batch: Any
        ) -> torch.Tensor:
            """Write this step's latents and attend, absorbed, from `latents` to `o_proj`'s product.

            attention: our MLA module; other arguments and result as of `mla_layer`.
            """
            if batch.forward_mode.is_idle():  # rows that only fill a step of other ranks
                return latents.new_zeros(latents.shape[0], attention.o_proj.weight.shape[0])
            step = self.mla_step(attention, positions, batch)
            cache = self.latent_cache(attention.layer_id)
            return mla_layer(latents, attention.absorbed_weights(), step, cache)

        def mla_step(self, attention: Any, positions: torch.Tensor, batch: Any) -> MlaStep:
            """Return what a step asks of every layer; attention: any layer's MLA module."""
            return MlaStep(
                positions,
                attention.rotary_emb.cos_sin_cache,
                batch.out_cache_loc,
                self.req_to_token_pool.req_to_token,
                batch.req_pool_indices,
                batch.seq_lens,
                None if batch.forward_mode.is_decode() else batch.extend_seq_lens,
            )

        def latent_cache(self, layer_id: int) -> torch.Tensor:
            """Return a layer's cache [num_slots, kv_lora_rank + qk_rope_head_dim]."""
            cache: torch.Tensor = self.token_to_kv_pool.get_key_buffer(layer_id)
            return cache.view(cache.shape[0], -1)

        def forward_expanded(
            self, attention: Any, query: torch.Tensor, latents: torch.Tensor, batch: Any
        ) -> torch.Tensor:
            """Write this step's latents, then attend with keys and values in full.

            To be called where `long_prompt.expands` says so; arguments and result as of
            `long_prompt.attend_expanded`.
            """
            layer = attention.attn_mqa
            location = KVWriteLoc(batch.out_cache_loc, None)
            self.token_to_kv_pool.set_kv_buffer(layer, location, latents.unsqueeze(1), None)
            rows, table = self.latent_cache(layer.layer_id), self.req_to_token_pool.req_to_token
            return attend_expanded(attention, query, latents, batch, rows, table)

        def _forward(
            self,
            q: torch.Tensor,
            k: torch.Tensor,
            v: torch.Tensor,
            layer: Any,
            batch: Any,
            query_lens: torch.Tensor | None,
            save_kv_cache: bool = True,
        ) -> torch.Tensor:
            """Write this step's latents, then attend each sequence's last tokens to all of it.

            q: [num_tokens, num_heads * (kv_lora_rank + qk_rope_head_dim)], the sequences' new
            tokens one after the other; query_lens: how many of each, None: one.
            """
            if save_kv_cache and k is not None:
                location = KVWriteLoc(batch.out_cache_loc, None)
                self.token_to_kv_pool.set_kv_buffer(layer, location, k, v)
            query = q.view(-1, layer.tp_q_head_num, layer.qk_head_dim)
            output = mla_absorbed_batch(
                query,
                self.latent_cache(layer.layer_id),
                self.req_to_token_pool.req_to_token,
                batch.req_pool_indices,
                batch.seq_lens,
                query_lens,
                scaling=layer.scaling,
                kv_lora_rank=layer.v_head_dim,
            )
            return output.view(query.shape[0], -1)

    return KimiCpuMlaBackend(runner)
