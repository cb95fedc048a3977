"""The command line as a whole: light to start, honest exit statuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "sglang", "transformers", "xgrammar", "numpy"}
MESSAGE = {"name": "n", "messages": [{"role": "user", "content": "u"}]}


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sglang_kimi.launch", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)


def loaded_after(arguments: list[str]) -> set[str]:
    """Return the modules that a run of the command has loaded at its end."""
    code = (
        "import sys\nfrom sglang_kimi.launch.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *arguments]
    ran = subprocess.run(command, input="", capture_output=True, text=True, check=True)
    return set(ran.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["render", "--help"], ["parse", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    loaded = loaded_after(arguments)
    assert "sglang_kimi.launch.cli" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("command", ["render", "parse"])
def test_render_and_parse_load_nothing_heavy(command: str, mini_checkpoint: Path) -> None:
    loaded = loaded_after([command, "--tokenizer", str(mini_checkpoint)])
    assert "tiktoken" in loaded
    assert not loaded & HEAVY


def test_help_names_every_command() -> None:
    shown = run("--help").stdout
    for command in ("serve", "demo", "mini", "render", "parse"):
        assert f"\n    {command} " in shown


def test_version_is_the_packages() -> None:
    assert run("--version").stdout == "sglang-kimi 0.1.0\n"


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["render"], ["render", "--no-such-flag"]])
def test_bad_usage_exits_with_2_and_shows_usage(arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.returncode == 2
    assert ran.stderr.startswith("usage: sglang-kimi")


@pytest.mark.parametrize("command", ["render", "parse"])
def test_a_folder_without_tokenizer_is_bad_usage(command: str, tmp_path: Path) -> None:
    ran = run(command, "--tokenizer", str(tmp_path))
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"sglang-kimi {command}: --tokenizer: {tmp_path}/tiktoken.model")
    assert ran.stderr.count("\n") == 1


def test_a_reader_that_stops_early_gives_no_traceback(
    mini_checkpoint: Path, tmp_path: Path
) -> None:
    file = tmp_path / "many.jsonl"
    file.write_text((json.dumps(MESSAGE) + "\n") * 1000)
    command = [sys.executable, "-m", "sglang_kimi.launch", "render", "--tokenizer"]
    process = subprocess.Popen(
        [*command, str(mini_checkpoint), str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b'{"name": "n"')
    process.stdout.close()
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (1, b"")


def test_a_full_disk_behind_the_output_is_said_in_one_line(mini_checkpoint: Path) -> None:
    command = [sys.executable, "-m", "sglang_kimi.launch", "render", "--tokenizer"]
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            [*command, str(mini_checkpoint)],
            input=json.dumps(MESSAGE).encode(),
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert ran.returncode == 1
    assert ran.stderr == b"sglang-kimi render: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(("closed", "name"), [("<&-", "input"), (">&-", "output")])
def test_a_closed_stream_is_bad_usage(mini_checkpoint: Path, closed: str, name: str) -> None:
    command = f'exec "$0" -m sglang_kimi.launch render --tokenizer "$1" {closed}'
    ran = subprocess.run(
        ["sh", "-c", command, sys.executable, str(mini_checkpoint)], capture_output=True, text=True
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"sglang-kimi render: standard {name} is closed")
