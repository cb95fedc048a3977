"""`sglang-kimi parse`: its fields, its exit statuses, and --step."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.cli import main
from sglang_kimi.launch.parse import parse_record

CONTROLS = [
    "[BOS]",
    "[EOS]",
    "<|im_end|>",
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
    "<think>",
    "</think>",
    "[UNK]",
    "[PAD]",
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "run",
            "parameters": {"type": "object", "properties": {"x": {}}, "required": ["x"]},
        },
    }
]
CALLS = (
    "thinking é</think>I run <b>it</b> 🙂\n<|tool_calls_section_begin|>"
    '<|tool_call_begin|>functions.run:0<|tool_call_argument_begin|>{"x": "a <|tool_call_end|> 漢"}'
    "<|tool_call_end|><|tool_call_begin|>run<|tool_call_argument_begin|>"
    "<|tool_call_end|><|tool_calls_section_end|>done<|im_end|>"
)
CALLS_OUTPUT = {
    "reasoning": "thinking é",
    "content": "I run <b>it</b> 🙂\ndone",
    "tool_calls": [
        {"id": "functions.run:0", "name": "run", "arguments": '{"x": "a <|tool_call_end|> 漢"}'},
        {"id": "functions.run:1", "name": "run", "arguments": "{}"},
    ],
    "finish_reason": "tool_calls",
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a tokenizer of single bytes and a few joined ones, in the checkpoint's format."""
    folder = tmp_path_factory.mktemp("tokenizer")
    ranks = [bytes([value]) for value in range(256)] + [
        b"th",
        b"in",
        b"\xc3\xa9",
        b"\xf0\x9f",
        b"run",
    ]
    lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(ranks)]
    (folder / "tiktoken.model").write_text("\n".join(lines) + "\n")
    added = {
        str(len(ranks) + number): {"content": text, "special": True}
        for number, text in enumerate(CONTROLS)
    }
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}))
    return folder


@pytest.fixture(scope="module")
def vocabulary(tokenizer: Path) -> Vocabulary:
    """Load that tokenizer."""
    return Vocabulary.load(tokenizer)


def run(
    capfdbinary: pytest.CaptureFixture[bytes], *arguments: object
) -> tuple[int, list[dict[str, Any]]]:
    """Run the command in this process; returns exit status and output lines."""
    status = main(["parse", *map(str, arguments)])
    return status, [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]


def write(path: Path, *records: object) -> Path:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_text_and_ids_give_the_documented_fields(
    tokenizer: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    vocabulary = Vocabulary.load(tokenizer)
    plain = CALLS.replace("<|tool_call_end|> 漢", "漢")
    file = write(
        tmp_path / "in.jsonl",
        {"name": "text", "tools": TOOLS, "output_text": CALLS},
        {"name": "ids", "tools": TOOLS, "output_ids": vocabulary.encode(plain)},
    )
    status, (text, ids) = run(capfdbinary, "--tokenizer", tokenizer, file)
    assert status == 0
    assert text == {"name": "text", **CALLS_OUTPUT}
    assert list(ids) == ["name", "reasoning", "content", "tool_calls", "finish_reason"]
    assert ids["tool_calls"][0]["arguments"] == '{"x": "a 漢"}'


@pytest.mark.parametrize("step", range(1, 12))
def test_every_step_prints_the_same(vocabulary: Vocabulary, step: int) -> None:
    text = {"tools": TOOLS, "output_text": CALLS}
    assert parse_record(vocabulary, text, step=step) == CALLS_OUTPUT
    ids = {"tools": TOOLS, "output_ids": vocabulary.encode(CALLS)}
    assert parse_record(vocabulary, ids, step=step) == parse_record(vocabulary, ids)


@pytest.mark.parametrize("step", [None, 1, 3])
def test_truncated_choice_and_history_are_obeyed(vocabulary: Vocabulary, step: int | None) -> None:
    record: dict[str, Any] = {"tools": TOOLS, "output_text": CALLS}

    def parsed(**fields: object) -> dict[str, Any]:
        return parse_record(vocabulary, record | fields, step=step)

    assert parsed(truncated=True)["finish_reason"] == "length"
    assert parsed(tool_choice="none")["tool_calls"] == []
    assert parsed(tools=None)["tool_calls"] == []
    assert parsed(history_calls=3)["tool_calls"][0]["id"] == "functions.run:3"
    assert parsed(history_calls=[{"name": "run"}])["tool_calls"][1]["id"] == "functions.run:2"
    for history in (["functions.run:0"], [{"id": "functions.run:0", "type": "function"}]):
        assert parsed(history_calls=history)["tool_calls"][0]["id"] == "functions.run:1"


@pytest.mark.parametrize("step", [None, 1, 2])
def test_output_without_anything_gives_empty_fields(
    vocabulary: Vocabulary, step: int | None
) -> None:
    empty = {"reasoning": "", "content": "", "tool_calls": [], "finish_reason": "stop"}
    assert parse_record(vocabulary, {"tools": [], "output_text": ""}, step=step) == empty
    assert parse_record(vocabulary, {"output_ids": []}, step=step) == empty


def test_without_open_thinking_all_is_content(vocabulary: Vocabulary) -> None:
    output = parse_record(vocabulary, {"output_text": "a", "starts_in_thinking": False})
    assert (output["reasoning"], output["content"]) == ("", "a")


def test_null_counts_as_absent(vocabulary: Vocabulary) -> None:
    record = {"tools": None, "output_text": "a", "output_ids": None, "truncated": None}
    assert parse_record(vocabulary, record)["reasoning"] == "a"


@pytest.mark.parametrize("name", [None, 5, ["run"], {"run": 1}])
def test_a_tool_choice_that_names_no_tool_forces_none(vocabulary: Vocabulary, name: Any) -> None:
    choice = {"type": "function", "function": {"name": name}}
    record = {"tools": TOOLS, "output_text": CALLS, "tool_choice": choice}
    assert parse_record(vocabulary, record) == CALLS_OUTPUT


@pytest.mark.parametrize("step", [None, 1, 2])
def test_a_half_surrogate_pair_becomes_the_replacement_character(
    vocabulary: Vocabulary, step: int | None
) -> None:
    output = parse_record(vocabulary, {"output_text": "a\ud83d</think>\ud83d\ude00"}, step=step)
    assert (output["reasoning"], output["content"]) == ("a\ufffd", "😀")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "output_ids, output_text: want exactly one"),
        ({"output_ids": [], "output_text": ""}, "output_ids, output_text: want exactly one"),
        ({"output_text": 3}, "output_text: want a text, got int"),
        ({"output_ids": "abc"}, "output_ids: want a list of token ids, got str"),
        ({"output_ids": [1, -1]}, "output_ids[1]: want a token id 0..516, got -1"),
        ({"output_ids": [517]}, "output_ids[0]: want a token id 0..516, got 517"),
        ({"output_ids": [True]}, "output_ids[0]: want a token id 0..516, got True"),
        ({"output_text": "", "tools": {}}, "tools: want a list of tools, got {}"),
        ({"output_text": "", "tools": ["x"]}, "tools[0]: want an object, got 'x'"),
        ({"output_text": "", "truncated": "no"}, "truncated: want true or false, got 'no'"),
        ({"output_text": "", "starts_in_thinking": 0}, "starts_in_thinking: want true or false"),
        ({"output_ids": None}, "output_ids, output_text: want exactly one"),
        ({"output_text": "", "tool_choice": 1}, 'tool_choice: want "auto", "none"'),
        ({"output_text": "", "tool_choice": "any"}, 'tool_choice: want "auto", "none"'),
        ({"output_text": "", "history_calls": -1}, "history_calls: want a number of calls"),
        ({"output_text": "", "history_calls": [1]}, "history_calls: want a number of calls"),
        ({"output_text": "", "history_calls": [{"id": 1}]}, "history_calls: want a number of"),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_what_would_be_right(
    vocabulary: Vocabulary, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        parse_record(vocabulary, fields)


def test_a_wrong_line_prints_its_error_and_the_others_go_through(
    tokenizer: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    file = write(tmp_path / "in.jsonl", {"name": "bad"}, {"name": "good", "output_text": "a"})
    status, (bad, good) = run(capfdbinary, "--tokenizer", tokenizer, file, "--step", 2)
    assert status == 1
    assert list(bad) == ["name", "error"]
    assert bad["name"] == "bad"
    assert good["reasoning"] == "a"


@pytest.mark.parametrize("step", ["0", "-1", "x", "1.5", ""])
def test_a_step_that_is_no_number_of_tokens_is_bad_usage(
    tokenizer: Path, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["parse", "--tokenizer", str(tokenizer), f"--step={step}", "x.jsonl"])
    assert caught.value.code == 2
    assert "want a number of tokens from 1 up" in capsys.readouterr().err


def test_a_missing_file_or_tokenizer_is_bad_usage(tokenizer: Path, tmp_path: Path) -> None:
    assert main(["parse", "--tokenizer", str(tokenizer), str(tmp_path / "none.jsonl")]) == 2
    assert main(["parse", "--tokenizer", str(tmp_path / "none"), os.devnull]) == 2


@pytest.mark.parametrize("dash", [[], ["-"]])
def test_standard_input_is_read_and_nothing_heavy_is_imported(
    tokenizer: Path, dash: list[str]
) -> None:
    script = (
        "import sys; from sglang_kimi.launch.cli import main; status = main(sys.argv[1:]);"
        "heavy = {'torch', 'sglang', 'transformers', 'xgrammar'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    command = [sys.executable, "-c", script, "parse", "--tokenizer", str(tokenizer), *dash]
    line = json.dumps({"name": "n", "tools": TOOLS, "output_text": CALLS}).encode()
    done = subprocess.run(command, input=line, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.load(io.BytesIO(done.stdout)) == {"name": "n", **CALLS_OUTPUT}
