"""A process that answers JSON lines: it times code of SGLang, which this room does not import."""

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from sglang_kimi.launch.server_process import ServerError

_LOG_CHARS: Final = 2000


class LineProcess:
    """A context with the process; command: its words. environment: None for this process's own."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._environment = environment

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=self._environment,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def ask(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to one step. ServerError with the end of its log if it ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(step) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer is missing too
        for line in self._process.stdout:
            if line.startswith("{"):  # SGLang's own modules print as well
                answer: dict[str, Any] = json.loads(line)
                return answer
        self._log.seek(0)
        raise ServerError(f"the timing process ended:\n{self._log.read()[-_LOG_CHARS:]}")
