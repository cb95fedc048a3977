"""FlashInfer's own MLA wrapper on the CPU: all of it runs except the compiled kernel.

`install` stands a plain-torch module in the place of the compiled one and answers FlashInfer's
questions about the device (an H100's figures), so plans and inputs are checked by FlashInfer's code.
"""

from types import SimpleNamespace

import torch

from sglang_kimi.kernels.mla.absorbed_reference import ref_mla_absorbed

HOPPER_SMEM = (233472, 232448)  # bytes per SM, per block
CAUSAL = 1


class TorchModule:
    """The compiled module's two functions; a plan's information is a copy of what was planned."""

    def plan(self, workspace, ints, pinned, qo_indptr, kv_indptr, kv_lens, heads, rank, causal):
        assert all(t.device.type == "cpu" for t in (qo_indptr, kv_indptr, kv_lens))
        return tuple(t.clone() for t in (qo_indptr, kv_indptr, kv_lens))

    def run(
        self, workspace, ints, info, q_nope, q_pe, ckv, kpe, indices, out, lse, mask, *rest
    ):  # fmt: skip
        heads, page_size, scaling = rest[:3]
        assert (heads, page_size) == (q_nope.shape[1], ckv.shape[1])
        query, cache = torch.cat([q_nope, q_pe], -1), torch.cat([ckv, kpe], -1).flatten(0, 1)
        qo_indptr, kv_indptr, kv_lens = info
        for i, seq_len in enumerate(kv_lens.tolist()):
            start, end = qo_indptr[i : i + 2].tolist()
            if start == end:
                continue
            assert mask == CAUSAL or end - start == 1, "several queries need the causal mask"
            pages = indices[kv_indptr[i] : kv_indptr[i + 1]].long()
            slots = (pages[:, None] * page_size + torch.arange(page_size)).flatten()[:seq_len]
            out[start:end] = ref_mla_absorbed(
                query[start:end], cache, slots, scaling=scaling, kv_lora_rank=ckv.shape[-1]
            )


class GraphModule(TorchModule):
    """As captured: every run reads what lies in the reserved buffers, not what a plan returned."""

    def __init__(self, buffers):
        self.buffers = buffers

    def run(self, workspace, ints, info, *args):
        names = ("qo_indptr", "kv_indptr", "kv_len_arr")
        super().run(workspace, ints, tuple(self.buffers[name] for name in names), *args)


def install(monkeypatch, capability=(9, 0)):
    """Let FlashInfer 0.7.2 believe in a GPU of this compute capability."""
    from flashinfer.mla._batch_mla import _auto_policy
    from flashinfer.mla._batch_mla._backends import _fa_common, fa2_backend, fa3_backend

    empty = torch.empty
    monkeypatch.setattr(
        torch, "empty", lambda *size, pin_memory=False, **kw: empty(*size, **kw)
    )  # page-locked memory needs a driver
    for module in (_fa_common, _auto_policy):
        hopper = lambda device: capability[0] == 9  # noqa: E731
        monkeypatch.setattr(module, "is_sm90a_supported", hopper)
    monkeypatch.setattr(_fa_common, "get_compute_capability", lambda device: capability)
    monkeypatch.setattr(_auto_policy, "_get_compute_capability", lambda device: capability)
    monkeypatch.setattr(_fa_common, "get_device_sm_count", lambda device: 132)
    monkeypatch.setattr(_fa_common, "_get_fa_shared_memory_limits", lambda device: HOPPER_SMEM)
    loaded = SimpleNamespace(backends=[])

    def load(backend, *args):
        loaded.backends.append(backend)
        return TorchModule()

    for module in (fa2_backend, fa3_backend):
        monkeypatch.setattr(module, "get_batch_mla_module", load)
    return loaded
