"""Which attention a GPU gets: SGLang's choice for our architecture, ours only when asked for."""

from types import SimpleNamespace

import pytest
import torch
from sglang.srt import runtime_context
from sglang.srt.arg_groups import choices, model_override_base
from sglang.srt.arg_groups.model_overrides import deepseek_v2
from sglang.srt.layers.attention.attention_registry import ATTENTION_BACKENDS

from sglang_kimi.gpu import attention, register
from tests.plugin import flashinfer_without_gpu

ARCHITECTURE = "KimiK25ForConditionalGeneration"
HEADS = 64
HOPPER = SimpleNamespace(is_hopper_with_cuda_12_3=True, is_sm100=False, is_hip=False)
BLACKWELL = SimpleNamespace(is_hopper_with_cuda_12_3=False, is_sm100=True, is_hip=False)
AMPERE = SimpleNamespace(is_hopper_with_cuda_12_3=False, is_sm100=False, is_hip=False)


def sglang_choice(monkeypatch, platform):
    """Return what SGLang 0.5.23 takes for our architecture when no flag names a backend."""
    arguments = SimpleNamespace(
        attention_backend=None,
        prefill_attention_backend=None,
        decode_attention_backend=None,
        enable_prefill_cp=False,
        tp_size=8,
    )
    config = SimpleNamespace(architectures=[ARCHITECTURE])
    for module in (model_override_base, deepseek_v2):
        monkeypatch.setattr(module, "get_platform", lambda: platform)
    gpu = SimpleNamespace(is_out_of_tree=lambda: False)
    monkeypatch.setattr(model_override_base, "current_platform", gpu)
    model = SimpleNamespace(hf_config=config)
    overrides = deepseek_v2._deepseek_family_overrides(arguments, config)
    default = model_override_base.get_default_attn_backend(arguments, True, model)
    return overrides.get("attention_backend", default)


@pytest.mark.parametrize(
    ("platform", "backend"),
    [(HOPPER, "fa3"), (BLACKWELL, "trtllm_mla"), (AMPERE, "triton")],
    ids=["hopper", "blackwell", "ampere"],
)
def test_without_a_flag_sglang_chooses_by_the_gpu_and_never_ours(monkeypatch, platform, backend):
    assert sglang_choice(monkeypatch, platform) == backend


def test_sglang_has_no_backend_on_cutlass():
    assert [name for name in ATTENTION_BACKENDS if "cutlass" in name] == []


@pytest.fixture
def names(monkeypatch):
    """The command line's choices and the table of backends, put back afterwards."""
    monkeypatch.setattr(
        choices, "add_attention_backend_choices", choices.ATTENTION_BACKEND_CHOICES.extend
    )
    before = list(choices.ATTENTION_BACKEND_CHOICES)
    for name in list(ATTENTION_BACKENDS):
        monkeypatch.setitem(ATTENTION_BACKENDS, name, ATTENTION_BACKENDS[name])
    yield choices.ATTENTION_BACKEND_CHOICES
    choices.ATTENTION_BACKEND_CHOICES[:] = before
    ATTENTION_BACKENDS.pop(register.BACKEND, None)


def test_registering_adds_the_name_for_the_command_line_and_the_runner(names, monkeypatch):
    monkeypatch.setattr(register, "hook", lambda *args: None)
    names[:] = [name for name in names if name != register.BACKEND]
    register.register()
    assert names.count("kimi_mla") == 1
    assert "kimi_mla" in ATTENTION_BACKENDS


@pytest.mark.parametrize(
    "flag", ["attention_backend", "prefill_attention_backend", "decode_attention_backend"]
)
def test_asking_for_it_without_a_gpu_stops_the_start_and_names_the_flag(flag):
    arguments = SimpleNamespace(**{flag: "kimi_mla"})
    words = f"--{flag.replace('_', '-')} kimi_mla: needs an NVIDIA GPU"
    with pytest.raises(SystemExit, match=words):
        register.refuse_without_cuda(None, arguments)


def test_other_backends_are_not_asked_about_gpus():
    register.refuse_without_cuda(None, SimpleNamespace(attention_backend="torch_native"))


def runner(**other):
    return SimpleNamespace(
        **{
            "use_mla_backend": True,
            "device": "cuda",
            "dtype": torch.bfloat16,
            "kv_cache_dtype": torch.bfloat16,
            "kv_index_translator": SimpleNamespace(is_translating=False),
            **other,
        }
    )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"use_mla_backend": False}, "serves models with MLA only"),
        ({"device": "cpu"}, "needs an NVIDIA GPU, this runner is on cpu"),
        (
            {"dtype": torch.float32},
            "--dtype: kimi_mla wants bfloat16 or float16, got torch.float32",
        ),
        ({"kv_cache_dtype": torch.float8_e4m3fn}, "--kv-cache-dtype: .* got torch.float8_e4m3fn"),
        ({"kv_index_translator": SimpleNamespace(is_translating=True)}, "no unified memory pool"),
    ],
)
def test_a_runner_that_it_does_not_serve_is_refused_by_its_flag(other, message):
    with runtime_context.get_parallel().override(dcp_enabled=False):
        attention.refuse_other_runners(runner())
        with pytest.raises(ValueError, match=message):
            attention.refuse_other_runners(runner(**other))


def test_decode_context_parallelism_is_refused():
    with (
        runtime_context.get_parallel().override(dcp_enabled=True),
        pytest.raises(ValueError, match="--dcp-size: kimi_mla wants 1"),
    ):
        attention.refuse_other_runners(runner())


def plan(backend, **layout):
    """Plan one decoded token with 64 heads by FlashInfer's wrapper, as SGLang or we do it."""
    from flashinfer.mla import BatchMLAPagedAttentionWrapper, MLAPlanMetadata

    wrapper = BatchMLAPagedAttentionWrapper(torch.empty(1024, dtype=torch.uint8), backend=backend)
    indptr = torch.tensor([0, 1], dtype=torch.int32)
    wrapper.plan(
        metadata=MLAPlanMetadata.csr(indptr, indptr, indptr[:1], indptr[1:]),
        num_heads=HEADS,
        head_dim_ckv=512,
        head_dim_kpe=64,
        page_size=1,
        causal=False,
        sm_scale=192**-0.5,
        q_data_type=torch.bfloat16,
        kv_data_type=torch.bfloat16,
        **layout,
    )


def test_flashinfer_s_cutlass_kernel_takes_no_64_heads(monkeypatch):
    flashinfer_without_gpu.install(monkeypatch, capability=(10, 0))
    with pytest.raises(ValueError, match="Expected 128 heads for cutlass backend, got 64"):
        plan("cutlass")


@pytest.mark.parametrize(("capability", "kernel"), [((9, 0), "fa3"), ((10, 0), "fa2")])
def test_sglang_s_flashinfer_backend_gets_fa3_on_hopper_and_fa2_on_blackwell(
    monkeypatch, capability, kernel
):
    """It hands over query and cache in two parts each, which the Blackwell kernels refuse."""
    loaded = flashinfer_without_gpu.install(monkeypatch, capability)
    plan("auto", query_layout="split", kv_cache_layout="split")
    assert loaded.backends == [kernel]
