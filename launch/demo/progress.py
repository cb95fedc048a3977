"""One progress line for slow work: redrawn on a terminal, now and then a whole line elsewhere."""

import shutil
import sys
from typing import TextIO

QUIET_S = 10.0
"""Seconds between lines where the output is no terminal (a log file, CI)."""


class ProgressLine:
    """Shows `LABEL: 12 s, DOING`; call it as often as you like."""

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self.label = label
        self.stream = stream or sys.stdout
        self._is_terminal = self.stream.isatty()
        self._next_s = 0.0

    def __call__(self, elapsed_s: float, doing: str) -> None:
        """Show the elapsed seconds and what is being done."""
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write("\r\x1b[K" + f"{self.label}: {elapsed_s:.0f} s, {doing}"[:width])
        elif elapsed_s >= self._next_s:
            self._next_s = elapsed_s + QUIET_S
            self.stream.write(f"{self.label}: {elapsed_s:.0f} s, {doing[:90]}\n")
        self.stream.flush()

    def done(self, text: str) -> None:
        """Replace the line by a last word."""
        self.stream.write(("\r\x1b[K" if self._is_terminal else "") + f"{self.label}: {text}\n")
        self.stream.flush()
