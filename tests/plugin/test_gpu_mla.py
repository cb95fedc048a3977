"""`kimi_mla` on the CPU: our backend, SGLang's pools and FlashInfer's wrapper as they are.

Only the compiled kernel is replaced (see flashinfer_without_gpu.py). Float16 carries 11 bits, so a
softmax's weighted sum of values around 1 is right to about 1e-3.
"""

from types import SimpleNamespace

import pytest
import torch
from sglang.srt import runtime_context
from sglang.srt.mem_cache.memory_pool import MLATokenToKVPool, ReqToTokenPool
from sglang.srt.model_executor.forward_batch_info import ForwardMode

from sglang_kimi.gpu import attention
from sglang_kimi.kernels.mla import flashinfer_mla
from tests.plugin import flashinfer_without_gpu

HEADS, RANK, ROPE, SCALING, TOKENS = 4, 128, 64, 0.09, 2048
WIDTH = RANK + ROPE


@pytest.fixture
def flashinfer(monkeypatch):
    monkeypatch.setattr(flashinfer_mla, "WORKSPACE_BYTES", 1024)
    return flashinfer_without_gpu.install(monkeypatch)


@pytest.fixture(params=[1, 64], ids=["page1", "page64"])
def step(request, monkeypatch, flashinfer):
    """A backend with its pools, as `Steps`."""
    with runtime_context.get_parallel().override(attn_tp_size=1, dcp_enabled=False):
        yield Steps(monkeypatch, request.param)


class Steps:
    """Runs steps of one layer through the backend, and what they should give by float64."""

    def __init__(self, monkeypatch, page_size):
        monkeypatch.setattr(attention, "refuse_other_runners", lambda runner: None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
        self.generator = torch.Generator().manual_seed(page_size)
        self.pool = MLATokenToKVPool(
            *(TOKENS, page_size, torch.float16, RANK, ROPE, 1, "cpu", False)
        )
        self.rows = ReqToTokenPool(8, 512, "cpu", False)
        pages = torch.randperm(TOKENS // page_size, generator=self.generator) + 1
        slots = (pages[:, None] * page_size + torch.arange(page_size)).flatten()
        self.rows.req_to_token[:4] = slots[:2048].view(4, 512).int()
        self.seq_lens = [0, 0, 0, 0]
        self.runner = SimpleNamespace(
            model_config=SimpleNamespace(
                num_attention_heads=HEADS,
                kv_lora_rank=RANK,
                qk_rope_head_dim=ROPE,
                scaling=SCALING,
                context_len=512,
            ),
            page_size=page_size,
            dtype=torch.float16,
            device="cpu",
            req_to_token_pool=self.rows,
            token_to_kv_pool=self.pool,
            kv_index_translator=None,
        )
        self.backend = attention.create_mla_backend(self.runner)
        self.layer = SimpleNamespace(
            layer_id=0, tp_q_head_num=HEADS, head_dim=WIDTH, v_head_dim=RANK, scaling=SCALING
        )

    def random(self, *size):
        return torch.randn(*size, generator=self.generator).half()

    def batch(self, sequences, new, mode, verify=False):
        """Return the batch in which each of `sequences` gets `new` more tokens."""
        before = [self.seq_lens[row] for row in sequences]
        after = [old + more for old, more in zip(before, new, strict=True)]
        slots = [
            self.rows.req_to_token[row, old:end]
            for row, old, end in zip(sequences, before, after, strict=True)
        ]
        for row, end in zip(sequences, after, strict=True):
            self.seq_lens[row] = end
        spec = SimpleNamespace(
            spec_input_type=SimpleNamespace(name="EAGLE_VERIFY"), topk=1, draft_token_num=new[0]
        )
        lengths = torch.tensor(before if verify else after)
        return SimpleNamespace(
            forward_mode=mode,
            batch_size=len(sequences),
            req_pool_indices=torch.tensor(sequences),
            seq_lens=lengths,
            seq_lens_cpu=lengths,
            extend_seq_lens_cpu=list(new),
            out_cache_loc=torch.cat(slots).long(),
            out_cache_loc_is_physical=False,
            spec_info=spec if verify else None,
        )

    def forward(self, batch, num_tokens, padding=0):
        """Run one layer; return (query, output)."""
        query = self.random(num_tokens + padding, HEADS, WIDTH)
        latent = self.random(num_tokens, 1, WIDTH)
        run = self.backend.forward_decode if batch.forward_mode.is_decode() else None
        run = run or self.backend.forward_extend
        output = run(query.flatten(1), latent, latent[..., :RANK], self.layer, batch)
        return query, output.view(-1, HEADS, RANK)

    def expected(self, query, sequences, new):
        """Attend in float64, query by query, over what lies in the pool."""
        cache = self.pool.get_key_buffer(0).view(-1, WIDTH).double()
        outputs, start = [], 0
        for row, more in zip(sequences, new, strict=True):
            end = self.seq_lens[row]
            keys = cache[self.rows.req_to_token[row, :end].long()]
            for token in range(more):
                visible = keys[: end - more + token + 1]
                weights = torch.softmax(SCALING * query[start].double() @ visible.T, dim=-1)
                outputs.append(weights @ visible[:, :RANK])
                start += 1
        return torch.stack(outputs)

    def check(self, sequences, new, mode, verify=False):
        batch = self.batch(sequences, new, mode, verify)
        self.backend.init_forward_metadata(batch)
        query, output = self.forward(batch, sum(new))
        close(output, self.expected(query, sequences, new))


def close(output, expected):
    torch.testing.assert_close(output.double(), expected, atol=3e-3, rtol=3e-3)


def test_prefill_decode_and_extension_over_a_cached_prefix_equal_float64(step):
    step.check([0, 2], [70, 3], ForwardMode.EXTEND)  # no prefix
    step.check([0, 2], [1, 1], ForwardMode.DECODE)
    step.check([2, 1, 0], [65, 17, 1], ForwardMode.EXTEND)  # prefixes of 4, 0 and 71
    step.check([1, 0, 2], [1, 1, 1], ForwardMode.DECODE)
    step.check([0, 1], [1, 30], ForwardMode.MIXED)


def test_a_chain_of_drafted_tokens_is_verified_causally(step):
    step.check([0, 1], [20, 64], ForwardMode.EXTEND)
    step.check([0, 1], [4, 4], ForwardMode.TARGET_VERIFY, verify=True)


def test_a_sequence_without_new_tokens_and_rows_behind_the_plan_disturb_nothing(step):
    """DP attention fills up batches: sequences that ask nothing, rows that nobody planned."""
    step.check([0, 1], [9, 5], ForwardMode.EXTEND)
    batch = step.batch([0, 1, 3], [4, 0, 0], ForwardMode.EXTEND)
    batch.seq_lens = batch.seq_lens_cpu = torch.tensor([13, 5, 1])  # SGLang fills up with 1
    step.backend.init_forward_metadata(batch)
    query, output = step.forward(batch, 4, padding=3)
    close(output[:4], step.expected(query, [0], [4]))


def test_a_rank_without_requests_plans_nothing(step):
    batch = step.batch([0], [0], ForwardMode.IDLE)
    batch.batch_size = 0
    step.backend.init_forward_metadata(batch)
    q = torch.zeros(0, HEADS * WIDTH)
    assert step.backend.forward(q, None, None, step.layer, batch).shape == (0, HEADS * RANK)


@pytest.mark.parametrize("verify", [False, True], ids=["decode", "verify"])
def test_a_captured_step_replays_other_batches_from_the_same_buffers(step, flashinfer, verify):
    mode = ForwardMode.TARGET_VERIFY if verify else ForwardMode.DECODE
    new = [4 if verify else 1] * 3
    step.check([0, 1, 2], [70, 3, 128], ForwardMode.EXTEND)
    step.backend.init_cuda_graph_state(max_bs=4, max_num_tokens=16)
    captured = step.batch([0, 0, 0], [0, 0, 0], mode, verify)
    captured.seq_lens = captured.seq_lens_cpu = torch.ones(3, dtype=torch.int64)
    if verify:
        captured.spec_info.draft_token_num = 4
    captured.out_cache_loc = torch.zeros(sum(new), dtype=torch.int64)  # slot 0 is padding
    step.backend.init_forward_metadata_out_graph(captured, in_capture=True)
    query, output = step.forward(captured, sum(new))
    graph = flashinfer.module.runs[-1]

    for sequences in ([0, 1, 2], [2, 0, 1]):
        step.check(sequences, [2, 2, 2], ForwardMode.EXTEND)  # an eager step between replays
        batch = step.batch(sequences, new, mode, verify)
        step.pool.get_key_buffer(0)[batch.out_cache_loc] = step.random(sum(new), 1, WIDTH)
        query.copy_(step.random(sum(new), HEADS, WIDTH))
        step.backend.init_forward_metadata_out_graph(batch)
        flashinfer.module.replay(graph)
        close(output, step.expected(query, sequences, new))


def test_a_graph_of_a_prefill_is_refused(step):
    batch = step.batch([0], [8], ForwardMode.EXTEND)
    with pytest.raises(ValueError, match="no CUDA graph for steps of the mode EXTEND"):
        step.backend.init_forward_metadata_out_graph(batch, in_capture=True)


def test_drafting_and_trees_are_refused(step):
    batch = step.batch([0], [1], ForwardMode.DECODE, verify=True)
    with pytest.raises(ValueError, match="drafts nothing"):
        step.backend.init_forward_metadata(batch)
    batch.forward_mode, batch.spec_info.topk = ForwardMode.TARGET_VERIFY, 2
    with pytest.raises(ValueError, match="a chain of drafted tokens"):
        step.backend.init_forward_metadata(batch)


def test_a_layer_with_another_scaling_is_refused(step):
    batch = step.batch([0], [1], ForwardMode.DECODE)
    step.backend.init_forward_metadata(batch)
    step.layer.scaling = 0.1
    with pytest.raises(ValueError, match=r"planned with scaling 0\.09, layer 0 has 0\.1"):
        step.forward(batch, 1)


def test_flashinfer_warns_of_nothing_deprecated(step, recwarn):
    step.check([0], [5], ForwardMode.EXTEND)
    assert [str(w.message) for w in recwarn if "flashinfer" in str(w.filename)] == []
