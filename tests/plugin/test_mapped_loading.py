"""When SGLang's loader hands out mapped tensors, and when it goes on as ever."""

from types import SimpleNamespace

import pytest
from sglang.srt import platforms, runtime_context

from sglang_kimi import mapped_loading
from sglang_kimi.checkpoint import ARCHITECTURE
from sglang_kimi.environment import CPU_EXPERT_LAYERS
from sglang_kimi.mapped_shard import MappedTensor

STOCK = [("stock", None)]


@pytest.fixture
def host(monkeypatch):
    """What the hook asks SGLang: its platform and --weight-loader-disable-mmap."""
    host = SimpleNamespace(device_name="kimi_cpu", weight_loader_disable_mmap=False)
    monkeypatch.setattr(platforms, "current_platform", host)
    monkeypatch.setattr(runtime_context, "get_model", lambda: host)
    return host


def tensors(mini_checkpoint, load_format="auto", architecture=ARCHITECTURE, resolved=False):
    """Return what an iterator over the mini checkpoint gives, as a dictionary."""
    files = [str(shard) for shard in mini_checkpoint.glob("*.safetensors")]
    loader = SimpleNamespace(
        load_config=SimpleNamespace(load_format=load_format),
        _prepare_weights=lambda model, *_: (model, [] if resolved else files, True),
    )
    source = SimpleNamespace(
        model_config=SimpleNamespace(hf_config=SimpleNamespace(architectures=[architecture])),
        model_or_path=str(mini_checkpoint),
        revision=None,
        fall_back_to_pt=True,
        allow_patterns_overrides=None,
        prefix="",
    )
    known = SimpleNamespace(weight_files=tuple(files), use_safetensors=True) if resolved else None
    return dict(
        mapped_loading._map_files(lambda *_, **__: STOCK, loader, source, resolved_source=known)
    )


@pytest.mark.parametrize("resolved", [False, True])
def test_on_the_cpu_every_tensor_of_the_model_comes_mapped(mini_checkpoint, host, resolved):
    found = tensors(mini_checkpoint, resolved=resolved)
    assert len(found) > 400
    assert all(isinstance(tensor, MappedTensor) for tensor in found.values())


@pytest.mark.parametrize("way", ["no mmap", "other model", "other format", "gpu"])
def test_otherwise_sglangs_own_iterator_runs(mini_checkpoint, host, way):
    host.weight_loader_disable_mmap = way == "no mmap"
    host.device_name = "cuda" if way == "gpu" else host.device_name
    options = {
        "other model": {"architecture": "DeepseekV3ForCausalLM"},
        "other format": {"load_format": "fastsafetensors"},
    }
    assert tensors(mini_checkpoint, **options.get(way, {})) == dict(STOCK)


def test_beside_a_gpu_tensors_come_mapped_where_layers_are_named(
    mini_checkpoint, host, monkeypatch
):
    host.device_name = "cuda"
    monkeypatch.setenv(CPU_EXPERT_LAYERS, "1-2")
    assert "stock" not in tensors(mini_checkpoint)
