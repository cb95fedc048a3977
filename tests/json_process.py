"""A Python program of the tests as a process of its own: JSON lines in, JSON lines out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self


class JsonProcess:
    """Such a process, from outside: each line names one of its verbs, with the verb's values.

    A verb that raised gives `{"error": CLASS, "message": TEXT}`.
    """

    def __init__(self, program: Path, *args: object) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(program), *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        """Return the process."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, as a server ends."""
        self._process.communicate()

    def ask(self, verb: str, *values: Any) -> Any:
        """Let it do something and return what that gave."""
        self.tell(verb, *values)
        return self.answer()

    def tell(self, verb: str, *values: Any) -> None:
        """Let it begin; `answer` waits for the end."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([verb, *values]) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Return what the last verb gave."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def die(self) -> None:
        """End it without a chance to close or write anything."""
        self._process.kill()
        self._process.communicate()
