"""`make compile-gpu`: nvcc compiles FlashInfer's MLA modules that we select, without a GPU.

The package has no CUDA of its own; its Triton kernels are compiled by tests/compile/test_triton.py.
Each source becomes an object (no link: that needs a driver's libraries). ninja keeps the objects in
the user's cache and compiles again what changed: a source, a header, a flag, or nvcc's release.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MODULES: Final = (("fa2", "9.0a"), ("fa3", "9.0a"), ("fa2", "10.0a"))
"""(backend, architecture); fa3 is Hopper's own code, so Blackwell gets fa2 (or shipped cubins)."""
SWITCH: Final = "SGLANG_KIMI_NO_NVCC"
KV_LORA_RANK, QK_ROPE_HEAD_DIM = 512, 64


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 where all objects are made (or the check is switched off), 1 where one fails."""
    parser = argparse.ArgumentParser(prog="make compile-gpu", description=__doc__)
    parser.add_argument(
        "--only-if-compiled", action="store_true", help="verify what is there, compile nothing new"
    )
    parser.add_argument("--child", nargs=2, metavar=("BACKEND", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        write_build_file(args.child[0], Path(args.child[1]))
        return 0
    if os.environ.get(SWITCH, "0") not in ("", "0"):
        print(f"compile-gpu: off, as {SWITCH} says")
        return 0
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        print("compile-gpu: no nvcc here, nothing checked (a CUDA toolkit of 12.3 or later has it)")
        return 0 if args.only_if_compiled else 1
    failed = [
        f"{backend} for {arch}"
        for backend, arch in MODULES
        if not compile_module(backend, arch, nvcc, args.only_if_compiled)
    ]
    if failed:
        print(f"compile-gpu: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def compile_module(backend: str, arch: str, nvcc: str, only_if_compiled: bool) -> bool:
    """Compile one module's sources to objects; False where one of them fails."""
    folder = cache_folder() / nvcc_release(nvcc) / f"{backend}-{arch}"
    if only_if_compiled and not (folder / "compiled").exists():
        print(f"compile-gpu: {backend} for sm_{arch}: not compiled yet; `make compile-gpu` does it")
        return True
    (folder / "compiled").unlink(missing_ok=True)
    start = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "CUDA_HOME": toolkit(nvcc),
        "FLASHINFER_CUDA_ARCH_LIST": arch,
        "FLASHINFER_WORKSPACE_BASE": str(folder),
    }
    child = [sys.executable, "-P", __file__, "--child", backend, str(folder)]
    subprocess.run(child, env=environment, check=True)
    build_file, *objects = (folder / "objects").read_text().splitlines()
    done = subprocess.run(["ninja", "-f", build_file, *objects], capture_output=True, text=True)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        return False
    (folder / "compiled").touch()
    num_bytes = sum(Path(path).stat().st_size for path in objects)
    was_there = " (nothing to do)" if "no work to do" in done.stdout else ""
    print(
        f"compile-gpu: {backend} for sm_{arch}: {len(objects)} objects, {num_bytes:,} bytes, "
        f"{time.monotonic() - start:.0f} s{was_there}",
        flush=True,
    )
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
    """Return where the objects of all releases of nvcc lie."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "sglang-kimi" / "nvcc"


def nvcc_release(nvcc: str) -> str:
    """Return nvcc's release, `13.0.88`; RuntimeError where it does not say."""
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"V(\d+\.\d+\.\d+)", text)
    if found is None:
        raise RuntimeError(f"{nvcc} --version names no release: {text!r}")
    return found[1]


def toolkit(nvcc: str) -> str:
    """Return the toolkit's folder; nvcc itself may be a script that calls it from elsewhere."""
    said = subprocess.run([nvcc, "--dryrun", "-E", "x.cu"], capture_output=True, text=True).stderr
    found = re.search(r"^#\$ _HERE_=(.+)/bin$", said, re.MULTILINE)
    return found[1] if found else str(Path(nvcc).resolve().parent.parent)


if __name__ == "__main__":
    sys.exit(main())
