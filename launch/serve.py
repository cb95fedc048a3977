"""`sglang-kimi serve MODEL [any SGLang flag]`: SGLang's own server, once MODEL and port look right.

The same as `python -m sglang.launch_server --model-path MODEL …`: this process becomes the server.
Our defaults are set by the plugin inside it, so both ways serve alike; what is added here are
checks that cost nothing and name the cure.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from sglang_kimi.launch.jsonlines import UsageError
from sglang_kimi.launch.server_process import is_port_in_use, server_command, server_environment

MODEL_TYPE = "kimi_k25"
DEFAULT_PORT = 30000
PLUGINS = ("kimi_cpu", "kimi_gpu", "kimi_model", "kimi_chat")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the sub-command `serve`."""
    parser = subparsers.add_parser(
        "serve",
        help="serve a checkpoint: SGLang's server with this package plugged in",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="checkpoint folder, or a name on the hub")
    parser.add_argument(
        "flags",
        nargs=argparse.REMAINDER,
        metavar="...",
        help="any flag of SGLang's server (`sglang-kimi serve MODEL --help` lists them)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check, then replace this process by the server. Returns only by raising UsageError."""
    if "--help" not in args.flags and "-h" not in args.flags:
        check_model(args.model)
        check_plugins()
        check_port(args.flags)
    command = server_command(args.model, args.flags)
    sys.stdout.flush()
    os.execve(command[0], command, server_environment(args.model))


def check_model(model: str) -> None:
    """Raise UsageError if `model` is a folder without a Kimi checkpoint, or a path to nothing.

    A name with one slash and no such folder may be a name on the hub: SGLang decides.
    """
    folder = Path(model)
    if not folder.exists():
        if model.startswith((".", "/", "~")) or model.count("/") != 1:
            raise UsageError(
                f"MODEL: no folder {model!r}, and that is no hub name (owner/name) either. "
                "`sglang-kimi mini DIR` writes a small checkpoint to try"
            )
        return
    config_path = folder / "config.json"
    if not config_path.is_file():
        raise UsageError(f"MODEL: {folder} holds no config.json, so it is no checkpoint folder")
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"MODEL: {config_path} is not JSON ({error})") from error
    model_type = config.get("model_type") if isinstance(config, dict) else None
    if model_type != MODEL_TYPE:
        raise UsageError(
            f"MODEL: {config_path}: model_type: want {MODEL_TYPE!r} (Kimi K2.5, K2.6, K2.7-Code), "
            f"found {model_type!r}. For other models use `python -m sglang.launch_server`"
        )


def check_plugins() -> None:
    """Raise UsageError if one of our entry points is missing or does not load.

    SGLang itself only logs such a fault and comes up with its own code for Kimi.
    """
    found = {entry.name: entry for entry in entry_points(group="sglang.srt.plugins")}
    for name in PLUGINS:
        if name not in found:
            raise UsageError(
                f"plugin {name} is not installed, so SGLang would serve with its own code. "
                "Install this package into the Python that serves (here: "
                f"{sys.executable}): `make venv`, or pip install sglang-kimi"
            )
        try:
            found[name].load()
        except Exception as error:
            raise UsageError(f"plugin {name} does not load: {error!r}") from error


def check_port(flags: Sequence[str]) -> None:
    """Raise UsageError if the port that `flags` ask for is taken, or is no port."""
    port_text = _value_of(flags, "--port") or str(DEFAULT_PORT)
    host = _value_of(flags, "--host") or "127.0.0.1"
    if not port_text.isdecimal() or not 0 < int(port_text) < 65536:
        raise UsageError(f"--port: want a number from 1 to 65535, found {port_text!r}")
    if is_port_in_use(int(port_text), host):
        raise UsageError(
            f"--port: {port_text} on {host} is in use. Stop the program that holds it, or choose "
            f"another: --port {int(port_text) % 65535 + 1}"
        )


def _value_of(flags: Sequence[str], name: str) -> str | None:
    value = None
    for flag, following in zip(flags, [*flags[1:], ""], strict=True):
        if flag == name:
            value = following
        elif flag.startswith(f"{name}="):
            value = flag.removeprefix(f"{name}=")
    return value
