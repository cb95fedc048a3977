"""`make compile-gpu`: nvcc compiles FlashInfer's MLA modules that we select, without a GPU.

The package has no CUDA of its own; its Triton kernels are compiled by tests/compile/test_triton.py.
Each source becomes an object (no link: that needs a driver's libraries). What was compiled once is
not compiled again on the machine until FlashInfer's or nvcc's release is another.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

MODULES: Final = (("fa2", "90a"), ("fa3", "90a"), ("fa2", "100a"))
"""(backend, architecture); fa3 is written for Hopper alone, so `kimi_mla` runs fa2 on Blackwell."""
ARCHITECTURES: Final = {"90a": "9.0a", "100a": "10.0a"}
SWITCH: Final = "SGLANG_KIMI_NO_NVCC"
KV_LORA_RANK, QK_ROPE_HEAD_DIM = 512, 64


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 where all objects are made (or the check is switched off), 1 where one fails."""
    parser = argparse.ArgumentParser(prog="make compile-gpu", description=__doc__)
    parser.add_argument("--write", nargs=2, metavar=("BACKEND", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.write:
        write_build_file(args.write[0], Path(args.write[1]))
        return 0
    if os.environ.get(SWITCH, "0") not in ("", "0"):
        print(f"compile-gpu: off, as {SWITCH} says")
        return 0
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        print(f"compile-gpu: no nvcc here: install a CUDA toolkit, or set {SWITCH}=1")
        return 1
    failed = [f"{name} for sm_{sm}" for name, sm in MODULES if not compile_module(name, sm, nvcc)]
    if failed:
        print(f"compile-gpu: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def compile_module(backend: str, sm: str, nvcc: str) -> bool:
    """Compile one module's sources to objects; False where one of them fails."""
    what = f"compile-gpu: {backend} for sm_{sm}"
    key = compiled_from(nvcc)
    folder = cache_folder() / key / f"{backend}-{sm}"
    if (folder / "compiled").exists():
        print(f"{what}: compiled before ({key})")
        return True
    start = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "CUDA_HOME": toolkit(nvcc),
        "FLASHINFER_CUDA_ARCH_LIST": ARCHITECTURES[sm],
        "FLASHINFER_WORKSPACE_BASE": str(folder),
    }
    child = [sys.executable, "-P", __file__, "--write", backend, str(folder)]
    subprocess.run(child, env=environment, check=True)
    build_file, *objects = (folder / "objects").read_text().splitlines()
    command = [sys.executable, "-P", "-m", "ninja", "-f", build_file, *objects]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        return False
    (folder / "compiled").touch()
    num_bytes = sum(Path(path).stat().st_size for path in objects)
    seconds = time.monotonic() - start
    print(f"{what}: {len(objects)} objects, {num_bytes:,} bytes, {seconds:.0f} s", flush=True)
    return True


def write_build_file(backend: str, folder: Path) -> None:
    """Write a module's sources, its ninja file, and a list of that file and its objects."""
    import torch
    from flashinfer.jit import gen_batch_mla_module

    bf16 = torch.bfloat16
    spec = gen_batch_mla_module(
        backend, bf16, bf16, bf16, torch.int32, KV_LORA_RANK, QK_ROPE_HEAD_DIM, False
    )
    spec.write_ninja()
    objects = re.findall(r"^build (\S+\.o):", spec.ninja_path.read_text(), re.MULTILINE)
    (folder / "objects").write_text("\n".join((str(spec.ninja_path), *objects)))


def cache_folder() -> Path:
    """Return where all objects lie, a folder for what they were compiled from."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "sglang-kimi" / "nvcc"


def compiled_from(nvcc: str) -> str:
    """Return what decides the objects: releases of FlashInfer and nvcc, type, sizes."""
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"V(\d+\.\d+\.\d+)", text)
    if found is None:
        raise RuntimeError(f"{nvcc} --version names no release: {text!r}")
    sizes = f"{KV_LORA_RANK}+{QK_ROPE_HEAD_DIM}"
    return f"flashinfer-{version('flashinfer-python')}-nvcc-{found[1]}-bf16-{sizes}"


def toolkit(nvcc: str) -> str:
    """Return the toolkit's folder; nvcc itself may be a script that calls it from elsewhere."""
    said = subprocess.run([nvcc, "--dryrun", "-E", "x.cu"], capture_output=True, text=True).stderr
    found = re.search(r"^#\$ _HERE_=(.+)/bin$", said, re.MULTILINE)
    return found[1] if found else str(Path(nvcc).resolve().parent.parent)


if __name__ == "__main__":
    sys.exit(main())
