"""Config and tokenizer under transformers 4.57, which the model card asks for.

SGLang pins transformers 5, so the old one lives in a small environment of its own (no torch),
built once under the user's cache.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sglang_kimi.launch.environment import default_cache

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ("transformers>=4.57.1,<5", "tiktoken>=0.12")

pytestmark = pytest.mark.slow


def find_uv() -> str:
    own = default_cache() / "uv" / "bin" / "uv"
    for candidate in (os.environ.get("UV"), shutil.which("uv"), str(own)):
        if candidate and shutil.which(candidate):
            return candidate
    pytest.skip("the installer uv is neither in $UV, nor on PATH, nor in our cache (`make venv`)")


@pytest.fixture(scope="module")
def old_python() -> Path:
    """Return the interpreter of the small environment; skips where it cannot be built."""
    key = json.dumps([REQUIREMENTS, sys.version])
    folder = default_cache() / f"compat-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        uv = find_uv()
        for arguments in (
            ["venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
            ["pip", "install", "--quiet", "--python", str(python), *REQUIREMENTS],
        ):
            ran = subprocess.run([uv, *arguments], capture_output=True, text=True, check=False)
            if ran.returncode != 0:
                pytest.skip(f"transformers 4.57 cannot be installed: {ran.stderr.strip()[-300:]}")
        complete.touch()
    return python


def load(python: Path, tokenizer: Path, goldens: Path) -> dict[str, Any]:
    script = Path(__file__).with_name("load_tokenizer.py")
    ran = subprocess.run(
        [str(python), str(script), str(ROOT), str(tokenizer), str(goldens)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    report: dict[str, Any] = json.loads(ran.stdout)
    assert report["transformers"].startswith("4.57.")
    return report


def test_the_release_loads_with_equal_ids_and_without_remote_code(
    old_python: Path, shared: Path
) -> None:
    kimi = shared / "kimi"
    report = load(old_python, kimi / "tokenizer", kimi / "golden_prompts.jsonl")
    assert report["class"] == report["saved_class"] == "sglang_kimi.tokenizer.TikTokenTokenizer"
    assert report["different"] == []
    assert report["saved_is_equal"]
    assert report["size"] == [163840, 163840, 163840]
    assert report["special_ids"] == [163584, 163585, 163839, 163838]
    assert report["skipped"] == "<think>"
    assert report["config_class"] == "sglang_kimi.config.KimiK25Config"
    assert report["text_config"] == [7168, 384]


def test_a_mini_checkpoint_loads(old_python: Path, mini_checkpoint: Path, tmp_path: Path) -> None:
    goldens = tmp_path / "none.jsonl"
    goldens.touch()
    report = load(old_python, mini_checkpoint, goldens)
    assert report["class"] == report["saved_class"] == "sglang_kimi.tokenizer.TikTokenTokenizer"
    assert report["size"] == [4096, 4096, 4096]
    assert report["config_class"] == "sglang_kimi.config.KimiK25Config"
