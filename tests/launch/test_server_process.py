"""The child process around a server, tried with a small HTTP server in SGLang's place."""

import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sglang_kimi.launch import server_process
from sglang_kimi.launch.server_process import (
    ServerError,
    ServerProcess,
    is_port_in_use,
    meaningful_lines,
    server_environment,
)

MakeServer = Callable[[str], ServerProcess]

HEALTHY = """
    import http.server, subprocess, sys
    print("[2026-01-01 10:00:00 TP0] Load weight begin", flush=True)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("child", child.pid, flush=True)
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.end_headers()
    port = int(sys.argv[sys.argv.index("--port") + 1])
    http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
FAILS = """
    print("[2026-01-01 10:00:00] Loading")
    raise ValueError("tensor model.norm.weight: want [256] BF16, found [128]")
"""
HANGS = """
    import time
    print("[2026-01-01 10:00:00] Scheduler hit an exception: boom", flush=True)
    time.sleep(600)
"""
SILENT = "import time; time.sleep(600)"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MakeServer:
    """Return a maker of server processes that run the given Python text instead of SGLang."""

    def make(script: str) -> ServerProcess:
        def command(model: object, args: Sequence[str]) -> list[str]:
            return [sys.executable, "-c", textwrap.dedent(script), *args]

        monkeypatch.setattr(server_process, "server_command", command)
        return ServerProcess("model", log_path=tmp_path / "logs" / "server.log")

    return make


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended but was not waited for counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_ready_when_health_answers_and_the_whole_group_ends_on_leaving(fake: MakeServer) -> None:
    seen: list[tuple[float, str]] = []
    with fake(HEALTHY) as server:
        server.wait_until_ready(30, lambda elapsed_s, doing: seen.append((elapsed_s, doing)))
        assert server.is_running
        child = int(server.log_tail().split("child ")[1].split()[0])
        assert is_alive(child)
    assert not server.is_running
    deadline = time.monotonic() + 5
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)
    assert seen and seen[0][1] == "starting Python"


def test_a_server_that_ends_is_reported_with_its_own_words_and_no_stack_frames(
    fake: MakeServer,
) -> None:
    with fake(FAILS) as server, pytest.raises(ServerError) as caught:
        server.wait_until_ready(30)
    message = str(caught.value)
    assert "ended with status 1" in message
    assert "ValueError: tensor model.norm.weight: want [256] BF16, found [128]" in message
    assert "File " not in message
    assert str(server.log_path) in message


def test_a_server_that_reports_a_fatal_error_but_stays_is_given_up(
    fake: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_process, "DYING_GRACE_S", 0.2)
    with fake(HANGS) as server, pytest.raises(ServerError, match="failed while it started"):
        server.wait_until_ready(30)


def test_the_time_limit_is_kept(fake: MakeServer) -> None:
    with fake(SILENT) as server, pytest.raises(ServerError, match="not ready after 1 s"):
        server.wait_until_ready(1)


def test_a_used_port_is_said_before_anything_starts(fake: MakeServer) -> None:
    server = fake(HEALTHY)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", server.port))
        holder.listen()
        assert is_port_in_use(server.port)
        with pytest.raises(ServerError, match=f"port {server.port} .* is in use: .*choose another"):
            server.start()
    assert not is_port_in_use(server.port)


def test_stopping_twice_or_before_the_start_is_harmless(fake: MakeServer) -> None:
    server = fake(SILENT)
    server.stop()
    server.start()
    server.stop()
    server.stop()
    assert not server.is_running


def test_log_lines_lose_their_prefix_and_frames_and_keep_the_last_error() -> None:
    log = [
        "[2026-01-01 10:00:00 TP0] Load weight begin",
        "Traceback (most recent call last):",
        '  File "x.py", line 3, in f',
        "    raise KeyError(name)",
        "KeyError: 'missing tensor'",
        "/lib/gguf.py:76: UserWarning: no GGUF here",
        "  warnings.warn(",
        *(f"[2026-01-01 10:00:0{i}] closing {i}" for i in range(8)),
    ]
    assert meaningful_lines(log, 2) == ["KeyError: 'missing tensor'", "closing 6", "closing 7"]


def test_the_environment_hides_the_checkout_and_spares_the_hub_for_a_local_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "intranet")
    assert server_environment(tmp_path)["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in server_environment("moonshotai/Kimi-K2.7-Code")
    assert server_environment(tmp_path)["NO_PROXY"] == "intranet,127.0.0.1,localhost"
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert server_environment(tmp_path)["HF_HUB_OFFLINE"] == "0"


def test_a_checkout_in_the_current_folder_does_not_hide_installed_libraries() -> None:
    root = Path(__file__).resolve().parents[2]
    probe = "import importlib.util as u; s = u.find_spec('kernels'); print(s and s.origin)"
    found = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=root,
        env=server_environment("model"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert os.path.realpath(found) != os.path.realpath(root / "kernels" / "__init__.py")
