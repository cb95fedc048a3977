"""The CPU as an out-of-tree SGLang platform.

SGLang's own CPU engine needs a CPU build of sgl_kernel that no registry carries; an out-of-tree
platform with device type "cpu" serves without it.
"""

from __future__ import annotations

import os
from typing import Any

import psutil
from sglang.srt.platforms.device_mixin import PlatformEnum
from sglang.srt.platforms.interface import SRTPlatform

from .defaults import apply_cpu_defaults


class KimiCpuPlatform(SRTPlatform):  # type: ignore[misc]
    """Serve on the CPU with torch's own ops and our kernels."""

    _enum = PlatformEnum.OOT
    device_name = "kimi_cpu"
    device_type = "cpu"

    def apply_server_args_defaults(self, server_args: Any) -> None:
        """Default what the CPU needs, only where the user set nothing."""
        apply_cpu_defaults(server_args)

    def get_default_attention_backend(self) -> str:
        """Return the name whose factory `attention.py` replaces for MLA models."""
        return "torch_native"

    def get_dispatch_key_name(self) -> str:
        """Return the key of the plain torch forms of SGLang's ops."""
        return "native"

    def get_device(self, device_id: int = 0) -> str:
        """Return what `--device` defaults to here."""
        return "cpu"

    def get_device_total_memory(self, device_id: int = 0) -> int:
        """Return the machine's memory in bytes."""
        return int(psutil.virtual_memory().total)

    def get_current_memory_usage(self, device: Any = None) -> float:
        """Return this process's resident memory in bytes."""
        return float(psutil.Process(os.getpid()).memory_info().rss)

    def get_available_memory(self, device_id: int = 0) -> tuple[int, int]:
        """Return (free, total) bytes of the machine's memory."""
        memory = psutil.virtual_memory()
        return int(memory.available), int(memory.total)

    def get_device_name(self, device_id: int = 0) -> str:
        """Return what metrics and logs call this device."""
        return "cpu"
