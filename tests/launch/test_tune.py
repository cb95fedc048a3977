"""`sglang-kimi tune int4` says in one line what keeps it from tuning."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from sglang_kimi.launch.cli import main


def test_without_a_gpu_one_line_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["tune", "int4"]) == 1
    assert capsys.readouterr().err == (
        "sglang-kimi tune int4: no GPU here, and nothing else to tune for\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ep-size", "7"], "--num-experts 384: want a multiple of 1 for each of --ep-size 7"),
        (["--tp-size", "3"], "--moe-intermediate-size 2048: want a multiple of 32 for each"),
        (["--hidden-size", "100"], "--hidden-size 100: want a multiple of 32"),
        (["--top-k", "9", "--num-experts", "8"], "--top-k 9: want at most --num-experts 8"),
    ],
)
def test_sizes_that_do_not_divide_are_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "int4", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_what_was_measured_is_written_for_the_device_and_the_ranks_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sglang_kimi.kernels.moe import int4_tuning
    from sglang_kimi.kernels.moe.int4_configs import Int4Config, Tile, config_entry, read_configs

    config = Int4Config(16, Tile(64, 32, 4, 3), Tile(64, 32, 4, 3))

    def tune(
        problem: Any, tokens: Sequence[int], device: Any, tell: Callable[[str], None]
    ) -> dict[int, dict[str, Any]]:
        assert (problem.num_experts, problem.top_k) == (384, 8)
        tell("measured")
        return {num_tokens: config_entry(config, 3.0) for num_tokens in tokens}

    class NoDevice:
        def __init__(self, device: Any) -> None: ...
        def __enter__(self) -> None: ...
        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(int4_tuning, "tune", tune)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Test GPU")
    monkeypatch.setattr(torch.cuda, "device", NoDevice)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["tune", "int4", "--tokens", "1,8", "--ep-size", "16"]) == 0
    path = tmp_path / "sglang-kimi" / "int4-configs" / "test_gpu.json"
    assert read_configs(path) == {"24x7168x2048": {1: config, 8: config}}
    assert json.loads(path.read_text(encoding="utf-8"))["device"] == "Test GPU"
    assert capsys.readouterr().out.splitlines()[-2:] == ["measured", f"wrote {path}"]
