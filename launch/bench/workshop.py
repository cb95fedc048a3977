"""What the parts of a benchmark share: the command's arguments, a checkpoint, running servers."""

import argparse
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.demo.progress import ProgressLine
from sglang_kimi.launch.jsonlines import load_vocabulary
from sglang_kimi.launch.server_process import ServerProcess

from .plot import PlotData

READY_TIMEOUT_S: Final = 900.0
_SCRIPTED: Final = "--enable-custom-logit-processor"  # lets a request bring its output with it


@dataclass(frozen=True)
class ServerKind:
    """How a server of the benchmark is started: flags and variables on top of the defaults."""

    name: str
    flags: tuple[str, ...] = ()
    plugins: str | None = None


OURS: Final = ServerKind("ours", (_SCRIPTED, "--enable-metrics"))
PAGE_SIZE: Final = 64  # tokens; what GPU backends want
OURS_IN_PAGES: Final = ServerKind(
    f"ours, pages of {PAGE_SIZE}", (_SCRIPTED, "--page-size", str(PAGE_SIZE))
)
STOCK: Final = ServerKind(
    "stock",
    (
        _SCRIPTED,
        *("--reasoning-parser", "kimi_k2", "--tool-call-parser", "kimi_k2"),
        "--enable-cache-report",
    ),
    plugins="kimi_cpu,kimi_model",
)


class Workshop:
    """A context: on leaving it, its servers are stopped and its folder is removed.

    After an error the folder stays, for the logs in it.

    args: what the command was given. plot_data: what the parts leave for the plot.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.plot_data = PlotData()
        self._servers: dict[str, ServerProcess] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="sglang-kimi-bench-"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        if not isinstance(error, Exception):
            shutil.rmtree(self.folder, ignore_errors=True)

    @cached_property
    def checkpoint(self) -> Path:
        """Return the mini checkpoint that the servers serve, written at first use."""
        from sglang_kimi.launch.mini.writer import write_mini_checkpoint

        folder = self.folder / "mini"
        write_mini_checkpoint(folder)
        return folder

    @cached_property
    def served_vocabulary(self) -> Vocabulary:
        """Return the served checkpoint's vocabulary."""
        return Vocabulary.load(self.checkpoint)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Return the vocabulary of `--tokenizer`, or the mini checkpoint's. UsageError."""
        if self.args.tokenizer is None:
            return self.served_vocabulary
        return load_vocabulary(self.args.tokenizer)

    def server(self, kind: ServerKind) -> ServerProcess:
        """Return a running server of a kind, started at first use. ServerError."""
        return self.servers(kind)[0]

    def servers(self, *kinds: ServerKind) -> list[ServerProcess]:
        """Return running servers; those that do not run yet start at the same time."""
        new = [kind for kind in kinds if kind.name not in self._servers]
        for kind in new:
            env = {} if kind.plugins is None else {"SGLANG_PLUGINS": kind.plugins}
            log_path = self.folder / f"{kind.name}.log"
            server = ServerProcess(self.checkpoint, kind.flags, env, log_path)
            self._servers[kind.name] = self._stack.enter_context(server)
        for kind in new:
            line = ProgressLine(f"server ({kind.name})")
            self._servers[kind.name].wait_until_ready(READY_TIMEOUT_S, line)
            line.done("ready")
        return [self._servers[kind.name] for kind in kinds]

    def stop(self, kind: ServerKind) -> None:
        """Stop a server that no later part needs."""
        if kind.name in self._servers:
            self._servers.pop(kind.name).stop()
