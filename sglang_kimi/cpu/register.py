"""What the entry points `kimi_cpu` do (plugin and platform)."""

from __future__ import annotations

PLATFORM_CLASS = "sglang_kimi.cpu.platform.KimiCpuPlatform"


def gpu_platform_is_active() -> bool:
    """Say whether SGLang has a platform of its own here: a GPU, or the CPU engine asked for."""
    from sglang.srt import platforms

    checks = (
        platforms._is_cpu_available,
        platforms._is_cuda_available,
        platforms._is_rocm_available,
        platforms._is_npu_available,
        platforms._is_xpu_available,
        platforms._is_musa_available,
        platforms._is_mps_available,
    )
    return any(check() for check in checks)


def choose_platform() -> str | None:
    """Return our platform's qualified name, None where SGLang has its own."""
    return None if gpu_platform_is_active() else PLATFORM_CLASS


def serves_on_our_cpu() -> bool:
    """Say whether this process serves on our CPU platform."""
    from sglang.srt.platforms import current_platform

    return bool(current_platform.device_name == "kimi_cpu")


def register() -> None:
    """Prepare processes and attention for the CPU; does nothing where our platform is not used."""
    if not serves_on_our_cpu():
        return
    from .attention import register_attention
    from .defaults import set_process_environment

    set_process_environment()
    register_attention()
