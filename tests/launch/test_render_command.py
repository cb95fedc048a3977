"""`sglang-kimi render`: conversations in, prompts out, an error beside its line."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

USER = {"role": "user", "content": "hi"}


def render(
    tokenizer: Path, stdin: str | bytes = "", *arguments: str
) -> tuple[int, list[dict[str, Any]], str]:
    """Return exit status, output objects and standard error."""
    command = [sys.executable, "-m", "sglang_kimi.launch", "render", "--tokenizer", str(tokenizer)]
    data = stdin.encode() if isinstance(stdin, str) else stdin
    ran = subprocess.run([*command, *arguments], input=data, capture_output=True, check=False)
    lines = ran.stdout.decode().splitlines()
    return ran.returncode, [json.loads(line) for line in lines], ran.stderr.decode()


def test_golden_prompts_come_out_of_a_file_with_equal_ids(shared: Path) -> None:
    kimi = shared / "kimi"
    file = kimi / "golden_prompts.jsonl"
    status, printed, error = render(kimi / "tokenizer", "", str(file))
    goldens = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert (status, error, len(printed)) == (0, "", len(goldens))
    for golden, found in zip(goldens, printed, strict=True):
        assert list(found) == ["name", "prompt_ids", "prompt_text"]
        assert found["name"] == golden["name"]
        assert found["prompt_text"] == golden["prompt_text"], golden["name"]
        if not golden["name"].startswith("special_tokens_in_text"):
            assert found["prompt_ids"] == golden["prompt_ids"], golden["name"]


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_standard_input_is_read_where_no_file_is_named(
    mini_checkpoint: Path, arguments: tuple[str, ...]
) -> None:
    line = json.dumps({"name": "a", "messages": [USER], "tools": None})
    status, printed, _ = render(mini_checkpoint, f"{line}\n\n{line}", *arguments)
    assert status == 0
    assert [found["name"] for found in printed] == ["a", "a"]
    assert printed[0]["prompt_text"].startswith("<|im_user|>user<|im_middle|>hi<|im_end|>")


def test_ids_are_kept_unless_normal_ones_are_asked_for(mini_checkpoint: Path) -> None:
    call = {"id": "call_x", "function": {"name": "f", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "call_x", "content": "r"}
    messages = [{"role": "assistant", "tool_calls": [call]}, result]
    line = json.dumps({"name": "a", "messages": messages})
    _, (kept,), _ = render(mini_checkpoint, line)
    assert render(mini_checkpoint, line, "--ids", "verbatim")[1] == [kept]
    assert kept["prompt_text"].count("call_x") == 2
    _, (normal,), _ = render(mini_checkpoint, line, "--ids", "normal")
    assert normal["prompt_text"] == kept["prompt_text"].replace("call_x", "functions.f:0")


def test_a_bad_line_gives_its_error_and_the_others_go_on(mini_checkpoint: Path) -> None:
    lines = [
        json.dumps({"name": "good", "messages": [USER]}),
        "{not json",
        "[1]",
        json.dumps({"name": "bad content", "messages": [USER, {"role": "user", "content": 5}]}),
        json.dumps({"name": ["odd"]}),
        '{"name": "deep", "messages": ' + "[" * 100_000 + "]" * 100_000 + "}",
        json.dumps({"messages": [USER]}),
    ]
    status, printed, error = render(mini_checkpoint, "\n".join(lines))
    assert (status, error) == (1, "")
    assert [found["name"] for found in printed] == [
        "good", None, None, "bad content", ["odd"], None, None,
    ]  # fmt: skip
    errors = [found.get("error") for found in printed]
    assert errors[0] is None
    assert errors[1].startswith("line 2: not JSON")
    assert errors[2] == "line 3: want a JSON object, got list"
    assert errors[3] == "messages[1].content: want a text, a list of parts or null, got int 5"
    assert errors[4] == "messages: want a list of objects, got nothing"
    assert errors[5] == "line 6: nested too deeply to be read"
    assert errors[6] is None


def test_bytes_that_are_no_utf8_are_an_error_of_their_line(mini_checkpoint: Path) -> None:
    status, printed, _ = render(mini_checkpoint, b'{"name": "\xff"}\n{"name":"b","messages":[]}\n')
    assert status == 1
    assert printed[0]["error"].startswith("line 1: not JSON in UTF-8")
    assert printed[1]["name"] == "b"


def test_lone_surrogates_are_rendered_as_the_replacement_character(mini_checkpoint: Path) -> None:
    line = '{"name": "\\ud800", "messages": [{"role": "user", "content": "a\\ud800"}]}'
    status, (found,), _ = render(mini_checkpoint, line)
    assert status == 0
    assert found["name"] == "\ud800"
    assert "a\ufffd<|im_end|>" in found["prompt_text"]


def test_a_file_that_cannot_be_read_is_bad_usage(mini_checkpoint: Path, tmp_path: Path) -> None:
    for file in (tmp_path / "absent.jsonl", tmp_path):
        status, printed, error = render(mini_checkpoint, "", str(file))
        assert (status, printed) == (2, [])
        assert error.startswith(f"sglang-kimi render: {file}: cannot be read")


def test_nothing_in_gives_nothing_out(mini_checkpoint: Path) -> None:
    assert render(mini_checkpoint, "") == (0, [], "")
