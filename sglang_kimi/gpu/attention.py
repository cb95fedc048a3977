"""The attention backend `kimi_mla`: absorbed MLA over the latent cache by FlashInfer's wrapper.

Every step is one call a layer on the cache as it lies: decode, extend (with or without a cached
prefix) and the verification of a chain of drafted tokens. A prompt without a prefix takes the
absorbed form, too: about three times the products of SGLang's expanded form.
"""

from __future__ import annotations

from typing import Any

import torch

from sglang_kimi.kernels.mla.flashinfer_mla import (
    WORKSPACE_BYTES,
    FlashInferMla,
    GraphBuffers,
    MlaShape,
    chosen_backend,
)
from sglang_kimi.kernels.mla.paged_csr import paged_csr

from ..seams import require


def create_mla_backend(runner: Any) -> Any:
    """Return the attention backend of one model runner.

    Raises ValueError where the model, the cache or the parallelism is not one it serves.
    """
    refuse_other_runners(runner)
    _use_absorbed_form()
    from sglang.srt.layers.attention.base_attn_backend import AttentionBackend
    from sglang.srt.mem_cache.memory_pool import KVWriteLoc

    class KimiMlaBackend(AttentionBackend):  # type: ignore[misc]
        """One plan a step, read by all layers."""

        def __init__(self, runner: Any) -> None:
            super().__init__()
            self.req_to_token_pool = runner.req_to_token_pool
            self.token_to_kv_pool = runner.token_to_kv_pool
            self.kv_index_translator = runner.kv_index_translator
            self._device = torch.device(runner.device)
            self._shape = shape_of(runner)
            self._pages_per_sequence = -(-runner.model_config.context_len // self._shape.page_size)
            self._workspace = torch.empty(WORKSPACE_BYTES, dtype=torch.uint8, device=self._device)
            self._kernel = chosen_backend(
                self._shape.num_heads, torch.cuda.get_device_capability(self._device)
            )
            self._eager = self._new_wrapper()
            self._active = self._eager
            self._buffers: GraphBuffers | None = None
            self._captured: dict[tuple[bool, int], FlashInferMla] = {}

        def _new_wrapper(self, graph: Any = None) -> FlashInferMla:
            return FlashInferMla(self._shape, self._workspace, backend=self._kernel, graph=graph)

        def init_forward_metadata(self, forward_batch: Any) -> None:
            """Plan a step that runs without a graph."""
            self._active = self._eager
            self._plan(forward_batch)

        def init_cuda_graph_state(self, max_bs: int, max_num_tokens: int) -> None:
            """Allocate what the captured kernels read."""
            self._buffers = GraphBuffers(max_bs, self._pages_per_sequence, self._device)
            self._captured.clear()

        def init_forward_metadata_out_graph(
            self, forward_batch: Any, in_capture: bool = False
        ) -> None:
            """Plan a step that runs as a graph: a wrapper for each batch size and kind of step."""
            mode = forward_batch.forward_mode
            if not (mode.is_decode_or_idle() or mode.is_target_verify()):
                raise ValueError(f"kimi_mla: no CUDA graph for steps of the mode {mode.name}")
            key = (mode.is_target_verify(), forward_batch.batch_size)
            if in_capture and key not in self._captured:  # an earlier capture reads it still
                assert self._buffers is not None, "init_cuda_graph_state comes first"
                self._captured[key] = self._new_wrapper(
                    self._buffers.of_batch(forward_batch.batch_size)
                )
            self._active = self._captured[key]
            self._plan(forward_batch)

        def get_cuda_graph_seq_len_fill_value(self) -> int:
            """Return the length of the sequences that fill up a captured batch."""
            return 1

        def _plan(self, forward_batch: Any) -> None:
            query_lens, seq_lens = lengths_of(forward_batch)
            if not query_lens:  # this rank has no request in this step
                return
            self._active.plan(
                paged_csr(
                    self.req_to_token_pool.req_to_token,
                    forward_batch.req_pool_indices[: len(query_lens)],
                    query_lens=query_lens,
                    seq_lens=seq_lens,
                    page_size=self._shape.page_size,
                )
            )

        def forward_extend(self, q: Any, k: Any, v: Any, layer: Any, batch: Any, **kw: Any) -> Any:
            return self._forward(q, k, v, layer, batch, **kw)

        def forward_decode(self, q: Any, k: Any, v: Any, layer: Any, batch: Any, **kw: Any) -> Any:
            return self._forward(q, k, v, layer, batch, **kw)

        def _forward(
            self,
            q: torch.Tensor,
            k: torch.Tensor,
            v: torch.Tensor,
            layer: Any,
            batch: Any,
            save_kv_cache: bool = True,
        ) -> torch.Tensor:
            """Write this step's latents, then attend the planned batch.

            q: [num_tokens, num_heads * (kv_lora_rank + qk_rope_head_dim)], sequence by sequence.
            Returns [num_tokens, num_heads * kv_lora_rank].
            """
            if save_kv_cache and k is not None:
                location = KVWriteLoc.for_batch(batch)
                self.token_to_kv_pool.set_kv_buffer(layer, location, k, v)
            if abs(layer.scaling - self._shape.scaling) > 1e-6:
                raise ValueError(
                    f"kimi_mla: planned with scaling {self._shape.scaling}, layer "
                    f"{layer.layer_id} has {layer.scaling}"
                )
            query = q.view(-1, layer.tp_q_head_num, layer.head_dim)
            cache = self.token_to_kv_pool.get_key_buffer(layer.layer_id)
            return self._active.run(query, cache).view(query.shape[0], -1)

    return KimiMlaBackend(runner)


def shape_of(runner: Any) -> MlaShape:
    """Return what the kernel needs to know of a model runner."""
    from sglang.srt.runtime_context import get_parallel

    config = runner.model_config
    return MlaShape(
        num_heads=config.num_attention_heads // get_parallel().attn_tp_size,
        kv_lora_rank=config.kv_lora_rank,
        qk_rope_head_dim=config.qk_rope_head_dim,
        page_size=runner.page_size,
        scaling=config.scaling,
        dtype=runner.dtype,
    )


def lengths_of(batch: Any) -> tuple[list[int], list[int]]:
    """Return (new tokens, all tokens) of each sequence of a step, from the host's copies.

    Raises ValueError for a step that drafts, or that verifies a tree of tokens.
    """
    mode, size, spec = batch.forward_mode, batch.batch_size, batch.spec_info
    known = batch.seq_lens if batch.seq_lens_cpu is None else batch.seq_lens_cpu
    seq_lens: list[int] = known[:size].tolist()
    if mode.is_target_verify():
        width = _chain_length(spec)
        return [width] * size, [length + width for length in seq_lens]
    if mode.is_decode_or_idle():
        if spec is not None:
            raise ValueError("kimi_mla: drafts nothing; name another draft attention backend")
        return [1] * size, seq_lens
    return list(batch.extend_seq_lens_cpu[:size]), seq_lens


def _chain_length(spec: Any) -> int:
    kind = spec.spec_input_type.name
    if kind != "EAGLE_VERIFY" or spec.topk != 1:
        raise ValueError(
            f"kimi_mla: verifies a chain of drafted tokens (--speculative-eagle-topk 1), got {kind}"
        )
    return int(spec.draft_token_num)


def _use_absorbed_form() -> None:
    from sglang.srt.models.deepseek_common.attention_forward_methods.forward_methods import (
        AttnForwardMethod,
    )

    require("mla_forward_method")("kimi_mla", lambda attn, batch: AttnForwardMethod.MLA)


def refuse_other_runners(runner: Any) -> None:
    """Raise ValueError, naming the flag, where a runner is not one that `kimi_mla` serves."""
    from sglang.srt.runtime_context import get_parallel

    if not runner.use_mla_backend:
        raise ValueError("kimi_mla: serves models with MLA only")
    if torch.device(runner.device).type != "cuda":
        raise ValueError(f"kimi_mla: needs an NVIDIA GPU, this runner is on {runner.device}")
    if runner.dtype not in (torch.bfloat16, torch.float16):
        raise ValueError(f"--dtype: kimi_mla wants bfloat16 or float16, got {runner.dtype}")
    if runner.kv_cache_dtype != runner.dtype:
        raise ValueError(
            f"--kv-cache-dtype: kimi_mla reads {runner.dtype} (auto), got {runner.kv_cache_dtype}"
        )
    if get_parallel().dcp_enabled:
        raise ValueError("--dcp-size: kimi_mla wants 1")
    if runner.kv_index_translator.is_translating:
        raise ValueError("kimi_mla: no unified memory pool, its slots are not the cache's")
