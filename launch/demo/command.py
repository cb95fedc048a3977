"""The sub-command `demo`: everything from an empty folder to the table, in one go.

Exit status 0 when every turn went through, 1 otherwise, with the next step as the last line.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sglang_kimi
from sglang_kimi.launch.server_process import ServerError, ServerProcess

from . import report
from .progress import ProgressLine

READY_TIMEOUT_S = 600.0
MIN_TURNS = 6
DEFAULT_TURNS = 8
LOG_NAME = "server.log"


class DemoError(RuntimeError):
    """A step of the demo failed; the message names the next step."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the sub-command `demo`."""
    parser = subparsers.add_parser(
        "demo",
        help="serve a mini checkpoint and run an agent loop on it",
        description="Write a mini checkpoint, serve it with SGLang and this package, and run an "
        "agent loop whose tools really run; print how much of each prompt came from the cache.",
    )
    parser.add_argument(
        "--turns", type=_turns, default=DEFAULT_TURNS, metavar="N", help="default 8"
    )
    parser.add_argument(
        "--port", type=_port, metavar="N", help="the server's port (default: a free one)"
    )
    parser.add_argument(
        "--serve", action="store_true", help="run no agent: leave the server running until Ctrl-C"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo, or with --serve only its server."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped too
    try:
        if args.serve:
            _serve(args.port)
        else:
            _demo(args.turns, args.port)
    except KeyboardInterrupt:
        print("\nstopped", flush=True)
        return 0 if args.serve else 130
    except (DemoError, ServerError) as error:
        print(f"\ndemo: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _demo(num_turns: int, port: int | None) -> None:
    with _workshop() as folder:
        checkpoint = _write_checkpoint(folder)
        print("the model is RANDOM: its words are noise, its tool calls are held to their schema")
        with ServerProcess(checkpoint, log_path=folder / LOG_NAME, port=port) as server:
            _wait(server, checkpoint)
            _run_agent(server.url, checkpoint, num_turns)
        print("server: stopped")


def _serve(port: int | None) -> None:
    with _workshop() as folder:
        checkpoint = _write_checkpoint(folder)
        with ServerProcess(checkpoint, log_path=folder / LOG_NAME, port=port) as server:
            _wait(server, checkpoint)
            print(f"serving a RANDOM mini model on {server.url}; Ctrl-C stops it. Try:\n")
            print(_curl(server.url), flush=True)
            while server.is_running:
                server.join(1.0)
            raise DemoError(f"the server ended by itself. Its log:\n{server.log_tail(20)}")


@contextmanager
def _workshop() -> Iterator[Path]:
    """Yield a folder for checkpoint and log; after a failed step with a log it stays."""
    folder = Path(tempfile.mkdtemp(prefix="sglang-kimi-demo-"))
    is_kept = False
    try:
        yield folder
    except (DemoError, ServerError):
        is_kept = (folder / LOG_NAME).is_file()
        raise
    finally:
        if not is_kept:
            shutil.rmtree(folder, ignore_errors=True)


def _write_checkpoint(folder: Path) -> Path:
    """Write the mini checkpoint with the command that a user would call."""
    checkpoint = folder / "checkpoint"
    command = [sys.executable, "-P", "-m", "sglang_kimi.launch", "mini", str(checkpoint)]
    done = subprocess.run([*command, "--random"], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise DemoError(f"`{' '.join(command)} --random` failed; its words are above")
    print(f"checkpoint: {done.stdout.splitlines()[0]}", flush=True)
    return checkpoint


def _wait(server: ServerProcess, checkpoint: Path) -> None:
    from .in_use import NotInUseError, check_in_use

    line = ProgressLine("server")
    server.wait_until_ready(READY_TIMEOUT_S, line)
    try:
        check_in_use(server.url, checkpoint)
    except NotInUseError as error:
        raise DemoError(f"{error}\nThe whole log: {server.log_path}") from error
    line.done(f"ready at {server.url}, with this package's code in use")


def _run_agent(url: str, checkpoint: Path, num_turns: int) -> None:
    import openai

    from .agent import AgentError, AgentLoop
    from .tools import Sandbox

    client: Any = openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=120, max_retries=0)
    loop = AgentLoop(client, str(checkpoint), Sandbox(project_root()).tools())
    print(f"agent: {num_turns} turns through the openai SDK; its tools read this project's files\n")
    print(report.header(), flush=True)
    try:
        turns = loop.run(num_turns, lambda turn: print(report.row(turn), flush=True))
    except (AgentError, openai.OpenAIError) as error:
        log = checkpoint.parent / LOG_NAME
        raise DemoError(f"{type(error).__name__}: {error}\nNext step: look at {log}") from error
    print(f"{report.totals(turns)}\n\n{report.legend()}\n", flush=True)


def project_root() -> Path:
    """Return the checkout this package is installed from, or the installed package itself."""
    package = Path(sglang_kimi.__file__).resolve().parent
    return package.parent if (package.parent / "pyproject.toml").is_file() else package


def _curl(url: str) -> str:
    body = (
        '{"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64, '
        '"max_thinking_tokens": 32}'
    )
    headers = "-H 'Content-Type: application/json'"
    return f"  curl {url}/v1/chat/completions {headers} \\\n    -d '{body}'\n"


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"want a number from 1 to 65535, found {text!r}")
    return int(text)


def _turns(text: str) -> int:
    if not text.isdecimal() or int(text) < MIN_TURNS:
        raise argparse.ArgumentTypeError(f"want a number of at least {MIN_TURNS}, found {text!r}")
    return int(text)
