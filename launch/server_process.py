"""One SGLang server as a child process: start, wait until it answers, keep the log, stop it whole.

Knows nothing about Kimi: the model, the flags and the environment come from the caller. Standard
library only, so that the command line starts quickly.
"""

import contextlib
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
POLL_S = 0.5
LOG_WINDOW_BYTES = 200_000
STOP_GRACE_S = 15.0
DYING_GRACE_S = 20.0
"""How long a server may linger after one of its processes has reported a fatal error."""

_LOG_PREFIX = re.compile(r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^\]]*\]\s*(?:(?:INFO|WARNING):\s*)?")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_FATAL = ("Scheduler hit an exception", "Received sigquit from a child process")
_NOISE = re.compile(
    r'^\s+(File "|\S)|^\s*[\^~]+\s*$|^Traceback |^During handling|^The above exception|^\S+Warning:'
    r"|^/\S+:\d+: \w*Warning:"
)
_CURES = (
    ("address already in use", "another program holds the port: stop it, or choose another port"),
    ("No space left on device", "the disk is full: free some space and start again"),
    ("out of memory", "memory ran out: close other programs, or lower --mem-fraction-static"),
    ("exit code: -9", "the system ended it, most likely for memory: close other programs"),
    ("No module named 'sglang'", "SGLang is not installed in this Python: run `make venv`"),
)


class ServerError(RuntimeError):
    """The server did not come up or stay up. The message ends with the cure; show it as is."""


def free_port(host: str = HOST) -> int:
    """Return a TCP port of `host` that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_port_in_use(port: int, host: str = HOST) -> bool:
    """Tell whether a program holds `port` of `host` so that no other can listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
        return False


def server_command(model: str | os.PathLike[str], args: Sequence[str]) -> list[str]:
    """Return the command line of a server for `model` in this very Python; `args` are SGLang's."""
    return [sys.executable, "-m", "sglang.launch_server", "--model-path", str(model), *args]


def server_environment(model: str | os.PathLike[str]) -> dict[str, str]:
    """Return this process's environment with what a server for `model` needs added to it.

    PYTHONSAFEPATH: keeps the current folder off the module path, where a checkout's `kernels/`
    would hide the installed library of that name, which SGLang imports. HF_HUB_OFFLINE: a model in
    a local folder needs no hub, and asking it delays the start where there is no network; a value
    that the user has set stays. NO_PROXY: SGLang's warm-up calls the server itself by HTTP.
    """
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"}
    if Path(model).is_dir():
        environment.setdefault("HF_HUB_OFFLINE", "1")
    for name in ("NO_PROXY", "no_proxy"):
        environment[name] = ",".join(filter(None, [environment.get(name), "127.0.0.1,localhost"]))
    return environment


class ServerProcess:
    """A server on a loopback port, as a context manager: entering starts it, leaving stops it.

    model:      checkpoint folder or hub name, handed to `--model-path`.
    extra_args: further SGLang flags; not `--model-path`, `--host` or `--port`.
    env:        variables on top of the caller's environment (they win).
    log_path:   file that receives the server's output; overwritten at start, kept afterwards.
    port:       TCP port; None takes a free one.

    Raises ServerError from `start` if the port is taken.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        extra_args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        log_path: str | os.PathLike[str] = "server.log",
        *,
        port: int | None = None,
    ) -> None:
        self.model = str(model)
        self.extra_args = tuple(extra_args)
        self.env = dict(env or {})
        self.log_path = Path(log_path)
        self.port = port if port is not None else free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base address, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Process id of the server's main process and of its group; None before the start."""
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        """Whether the main process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process in a group of its own; returns at once. See `wait_until_ready`."""
        if self._process is not None:
            raise RuntimeError(f"server process {self._process.pid} was started already")
        if is_port_in_use(self.port):
            raise ServerError(f"port {self.port} on {HOST} is in use: {_CURES[0][1]}")
        command = server_command(
            self.model, ["--host", HOST, "--port", str(self.port), *self.extra_args]
        )
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=server_environment(self.model) | self.env,
                start_new_session=True,  # so that stopping the group stops the schedulers too
            )

    def wait_until_ready(
        self,
        timeout_s: float = 600.0,
        progress: Callable[[float, str], None] | None = None,
    ) -> None:
        """Return once the server answers `/health`; the warm-up is over by then.

        progress: called about twice a second with the elapsed seconds and what the log says last.
        Raises ServerError when the process ends, reports a fatal error or exceeds `timeout_s`.
        """
        started, dying_since = time.monotonic(), None
        while not self._is_healthy():
            elapsed_s = time.monotonic() - started
            log = self._log_lines()
            if not self.is_running:
                raise self._failure(f"the server ended {self._exit_word()} before it was ready")
            if dying_since is None and any(word in line for line in log for word in _FATAL):
                dying_since = elapsed_s
            if dying_since is not None and elapsed_s - dying_since > DYING_GRACE_S:
                raise self._failure("a process of the server failed while it started")
            if elapsed_s > timeout_s:
                raise self._failure(f"the server was not ready after {timeout_s:.0f} s")
            if progress:
                progress(elapsed_s, _doing(log))
            time.sleep(POLL_S)

    def join(self, timeout_s: float) -> None:
        """Return when the main process has ended or `timeout_s` is over."""
        assert self._process is not None, "join before start"
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)

    def stop(self) -> None:
        """End the whole process group, first politely. Harmless if it has ended or never began."""
        if self._process is None:
            return
        self._signal_group(signal.SIGTERM)
        self.join(STOP_GRACE_S)
        self._signal_group(signal.SIGKILL)  # also what outlived its parent
        self._process.wait()

    def log_tail(self, num_lines: int = 40) -> str:
        """Return the last lines of the log as they stand there, without colours."""
        return "\n".join(self._log_lines()[-num_lines:])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _signal_group(self, number: signal.Signals) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _is_healthy(self) -> bool:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(f"{self.url}/health", timeout=10) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _exit_word(self) -> str:
        code = self._process.poll() if self._process else None
        if code is not None and code < 0:
            return f"by signal {signal.Signals(-code).name}"
        return f"with status {code}"

    def _log_lines(self) -> list[str]:
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, self.log_path.stat().st_size - LOG_WINDOW_BYTES))
                text = log.read().decode(errors="replace")
        except OSError:
            return []
        lines = (_ANSI.sub("", line).rstrip() for line in re.split(r"[\r\n]+", text))
        return [line for line in lines if line]

    def _failure(self, what: str) -> ServerError:
        lines = self._log_lines()
        shown = "\n".join(f"  | {line}" for line in meaningful_lines(lines))
        return ServerError(f"{what}. Its log says:\n{shown}\n{_cure(lines, self.log_path)}")


def meaningful_lines(log: Sequence[str], num_lines: int = 6) -> list[str]:
    """Return the last lines of a log that say something: no stack frames, warnings, repetition."""
    kept: list[str] = []
    for line in log:
        text = _LOG_PREFIX.sub("", line)
        if text and not _NOISE.match(text) and text not in kept:
            kept.append(text)
    errors = [line for line in kept if re.match(r"^[\w.]*(Error|Exception|Exit)\b.*:", line)]
    tail = kept[-num_lines:]
    return [line for line in errors[-2:] if line not in tail] + tail


def _doing(log: Sequence[str]) -> str:
    return (meaningful_lines(log, 1) or ["starting Python"])[-1]


def _cure(log: Sequence[str], log_path: Path) -> str:
    text = "\n".join(log)
    cures = [cure for sign, cure in _CURES if sign in text]
    return "\n".join([*(f"Next step: {cure}." for cure in cures), f"The whole log: {log_path}"])
