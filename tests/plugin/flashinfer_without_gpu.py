"""FlashInfer's own MLA wrapper on the CPU: all of it runs except the compiled kernel.

`install` stands a plain-torch module in the place of the compiled one and answers FlashInfer's
questions about the device (an H100's figures); plans and inputs are checked by its own code.
"""

from types import SimpleNamespace

import torch

from sglang_kimi.kernels.mla.absorbed_reference import ref_mla_absorbed

HOPPER_SMEM = (233472, 232448)  # bytes per SM, per block
CAUSAL = 1


class TorchModule:
    """The compiled module's two functions in plain torch.

    As the real one it keeps a plan in the integer workspace, on the device, and a run reads it
    there; so running again with the same arguments is what replaying a captured graph does.
    """

    def __init__(self):
        self.runs = []

    def plan(self, workspace, ints, pinned, qo_indptr, kv_indptr, kv_lens, heads, rank, causal):
        size = torch.tensor([len(kv_lens)], dtype=torch.int32)
        planned = torch.cat([size, qo_indptr, kv_indptr, kv_lens])
        ints.view(torch.int32)[: len(planned)] = planned
        return "offsets into the workspace"

    def run(self, *args):
        self.runs.append(args)
        self.replay(args)

    def replay(self, args):
        _, ints, _, q_nope, q_pe, ckv, kpe, indices, out, _, mask, heads, page_size, scaling, *_ = (
            args
        )
        assert (heads, page_size) == (q_nope.shape[1], ckv.shape[1])
        query, cache = torch.cat([q_nope, q_pe], -1), torch.cat([ckv, kpe], -1).flatten(0, 1)
        size = int(ints.view(torch.int32)[0])
        planned = ints.view(torch.int32)[1 : 3 * size + 3]
        qo_indptr, kv_indptr, kv_lens = planned.split([size + 1, size + 1, size])
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


def install(monkeypatch, capability=(9, 0)):
    """Let FlashInfer 0.7.2 believe in a GPU of this compute capability.

    Returns `module`, whose `runs` are the arguments of each run, and `backends`, the modules asked
    for.
    """
    from flashinfer.mla._batch_mla import _auto_policy
    from flashinfer.mla._batch_mla._backends import _fa_common, fa2_backend, fa3_backend

    empty = torch.empty
    monkeypatch.setattr(
        torch, "empty", lambda *size, pin_memory=False, **kw: empty(*size, **kw)
    )  # page-locked memory needs a driver
    for asking in (_fa_common, _auto_policy):
        monkeypatch.setattr(asking, "is_sm90a_supported", lambda device: capability[0] == 9)
    monkeypatch.setattr(_fa_common, "get_compute_capability", lambda device: capability)
    monkeypatch.setattr(_auto_policy, "_get_compute_capability", lambda device: capability)
    monkeypatch.setattr(_fa_common, "get_device_sm_count", lambda device: 132)
    monkeypatch.setattr(_fa_common, "_get_fa_shared_memory_limits", lambda device: HOPPER_SMEM)
    module, backends = TorchModule(), []

    def load(backend, *args):
        backends.append(backend)
        return module

    for backend_module in (fa2_backend, fa3_backend):
        monkeypatch.setattr(backend_module, "get_batch_mla_module", load)
    return SimpleNamespace(module=module, backends=backends)
