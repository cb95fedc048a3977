"""Real servers, started as a user starts them, for all tests of this folder."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sglang_kimi.launch.server_process import ServerProcess

START_TIMEOUT_S = 900.0  # 45-80 s on an idle machine; tests share it with other work


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(str(item.fspath)).parent == Path(__file__).parent:
            item.add_marker("server")


@dataclass(frozen=True)
class Client:
    """Plain JSON over HTTP, so that tests see exactly what is sent and what comes back."""

    url: str

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        """Return the decoded answer; an HTTP error raises AssertionError with its text."""
        status, answer = self.try_post(path, body, headers)
        assert status == 200, f"{path}: HTTP {status}: {answer}"
        return answer

    def try_post(
        self, path: str, body: Any, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Return (HTTP status, decoded answer)."""
        request = urllib.request.Request(
            self.url + path,
            json.dumps(body).encode(),
            {"Content-Type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=300) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            try:
                return error.code, json.loads(text)
            except ValueError:
                return error.code, text

    def stream(self, path: str, body: Any) -> Iterator[Any]:
        """Yield the decoded `data:` lines of a streamed answer, without `[DONE]`."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as response:
            for line in response:
                data = line.decode().removeprefix("data:").strip()
                if line.startswith(b"data:") and data != "[DONE]":
                    yield json.loads(data)

    def generate(self, input_ids: Sequence[int], max_new_tokens: int, **fields: Any) -> Any:
        """Return `/generate`'s answer to a greedy request that does not stop early."""
        sampling = {"max_new_tokens": max_new_tokens, "temperature": 0, "ignore_eos": True}
        body = {"input_ids": list(input_ids), "sampling_params": sampling, **fields}
        return self.post("/generate", body)


@pytest.fixture(scope="session")
def server(started_server: ServerProcess) -> ServerProcess:
    """Return the server without a flag, once it answers."""
    started_server.wait_until_ready(START_TIMEOUT_S)
    return started_server


@pytest.fixture(scope="session")
def scripted_server(started_scripted_server: ServerProcess) -> ServerProcess:
    """Return the server with scripted outputs and metrics, once it answers."""
    started_scripted_server.wait_until_ready(START_TIMEOUT_S)
    return started_scripted_server


@pytest.fixture(scope="session")
def client(server: ServerProcess) -> Client:
    """Return a client of the shared server."""
    return Client(server.url)


@contextmanager
def running_server(
    model: Path, log_path: Path, *args: str, env: dict[str, str] | None = None
) -> Iterator[ServerProcess]:
    """Run a server with more flags or variables than the shared one; it answers on entry."""
    process = ServerProcess(model, ["--device", "cpu", *args], env=env, log_path=log_path)
    with process:
        process.wait_until_ready(START_TIMEOUT_S)
        yield process


@pytest.fixture(autouse=True)
def show_server_log(request: pytest.FixtureRequest) -> Iterator[None]:
    """Attach the end of the shared server's log to a test that failed."""
    yield
    report = getattr(request.node, "report_call", None)
    if report is not None and report.failed and "server" in request.fixturenames:
        print(request.getfixturevalue("server").log_tail(60))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.report_call = report  # type: ignore[attr-defined]
