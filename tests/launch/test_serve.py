"""`sglang-kimi serve` names what is wrong before it becomes the server."""

import argparse
import json
import os
import socket
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from sglang_kimi.launch import serve
from sglang_kimi.launch.jsonlines import UsageError
from sglang_kimi.launch.server_process import free_port


def parse(*words: str) -> argparse.Namespace:
    """Return the parsed command line `sglang-kimi WORDS`."""
    parser = argparse.ArgumentParser()
    serve.add_parser(parser.add_subparsers(required=True))
    return parser.parse_args(words)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Return a folder that looks like a Kimi checkpoint from outside."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "kimi_k25"}))
    return tmp_path


def test_flags_after_the_model_reach_sglang_unchanged_even_help(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda path, command, env: called.append(command))
    port = str(free_port())
    serve.run(parse("serve", str(checkpoint), "--tp-size", "2", "--port", port, "--json", "{}"))
    serve.run(parse("serve", str(checkpoint), "--help"))
    start = [sys.executable, "-m", "sglang.launch_server", "--model-path", str(checkpoint)]
    assert called == [
        [*start, "--tp-size", "2", "--port", port, "--json", "{}"],
        [*start, "--help"],
    ]


def test_a_path_to_nothing_is_told_from_a_hub_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no folder .*missing.*sglang-kimi mini DIR"):
        serve.check_model(str(tmp_path / "missing"))
    with pytest.raises(UsageError, match="no folder 'checkpoint'"):
        serve.check_model("checkpoint")
    serve.check_model("moonshotai/Kimi-K2.7-Code")


def test_a_folder_that_is_no_kimi_checkpoint_is_refused_with_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no config\.json"):
        serve.check_model(str(tmp_path))
    config = tmp_path / "config.json"
    config.write_text("{")
    with pytest.raises(UsageError, match="is not JSON"):
        serve.check_model(str(tmp_path))
    config.write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(UsageError, match=r"want 'kimi_k25'.*found 'llama'"):
        serve.check_model(str(tmp_path))


def test_a_used_port_is_named_with_another_to_take() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        taken = f"--port={port}"
        for flags in (["--port", str(port)], [taken], ["--port", "1", taken]):
            with pytest.raises(
                UsageError, match=f"{port} on 127.0.0.1 is in use.*--port {port + 1}"
            ):
                serve.check_port(flags)
    serve.check_port([f"--port={port}"])


@pytest.mark.parametrize("port", ["zero", "0", "70000", "-1"])
def test_what_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(UsageError, match="want a number from 1 to 65535"):
        serve.check_port(["--port", port])


def test_a_missing_or_broken_plugin_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    serve.check_plugins()

    def plugins(group: str) -> list[EntryPoint]:
        assert group == "sglang.srt.plugins"
        return [EntryPoint(name, value, group) for name, value in found.items()]

    monkeypatch.setattr(serve, "entry_points", plugins)
    found = {
        "kimi_cpu": "sglang_kimi.plugin:register_cpu",
        "kimi_gpu": "sglang_kimi.plugin:register_gpu",
    }
    with pytest.raises(UsageError, match="plugin kimi_model is not installed"):
        serve.check_plugins()
    found["kimi_model"] = "sglang_kimi.plugin:no_such_function"
    with pytest.raises(UsageError, match=r"plugin kimi_model does not load: .*no_such_function"):
        serve.check_plugins()
