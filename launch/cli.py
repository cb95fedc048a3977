"""The console script `sglang-kimi`: one sub-command a module, each with `add_parser` and `run`.

Starts light: a module may import torch, transformers or sglang only inside its `run`.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from . import parse, render, serve, tune
from .bench import command as bench
from .demo import command as demo
from .jsonlines import EXIT_LINE_ERRORS, EXIT_USAGE, UsageError
from .mini import command as mini


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command; returns the exit status, 2 for bad usage.

    argv: the arguments after the program's name; None takes the process's own.
    """
    args = _parser().parse_args(argv)
    try:
        status: int = args.run(args)
        return status
    except UsageError as error:
        print(f"sglang-kimi {args.command}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:
        _give_stdout_up()  # the reader (`head`) has what it wants
        return EXIT_LINE_ERRORS
    except OSError as error:  # a full disk behind standard output, a file that cannot be read on
        print(f"sglang-kimi {args.command}: {error}", file=sys.stderr)
        _give_stdout_up()
        return EXIT_LINE_ERRORS
    except KeyboardInterrupt:
        return 128 + 2  # what a shell gives for SIGINT


def _give_stdout_up() -> None:
    """Let nothing fail again when Python flushes standard output at its end."""
    stdout_descriptor = 1
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout_descriptor)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sglang-kimi", description="Serve Kimi-K2.7-Code, and see what goes in and out of it."
    )
    parser.add_argument(
        "--version", action="version", version=f"sglang-kimi {version('sglang-kimi')}"
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (serve, demo, mini, render, parse, bench, tune):
        module.add_parser(subparsers)
    return parser
