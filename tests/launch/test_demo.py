"""The demo without a server: its tools, its loop against a scripted client, its table."""

import argparse
import io
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sglang_kimi.launch.demo import command, report
from sglang_kimi.launch.demo.agent import AgentError, AgentLoop, Turn
from sglang_kimi.launch.demo.progress import ProgressLine
from sglang_kimi.launch.demo.tools import MAX_OUTPUT_CHARS, Sandbox, ToolError, run_call


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project of three source files, beside things that the tools must not show."""
    root = tmp_path / "project"
    for name, text in {
        "README.md": "read me",
        "src/a.py": "def one():\n    raise ValueError('x')\n",
        "src/long.py": "x = 1\n" * 1000,
        ".git/config.md": "secret",
        ".venv/lib/b.py": "secret",
        "data.bin": "secret",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "outside.md").write_text("secret")
    (root / "link.md").symlink_to(tmp_path / "outside.md")
    return root


class TestTools:
    def test_only_text_files_of_the_project_are_offered(self, project: Path) -> None:
        sandbox = Sandbox(project)
        assert sandbox.files == ["README.md", "src/a.py", "src/long.py"]
        assert sandbox.folders == [".", "src"]

    def test_each_tool_really_reads_the_project(self, project: Path) -> None:
        sandbox = Sandbox(project)
        assert sandbox.list_files("src").split() == ["37", "src/a.py", "6000", "src/long.py"]
        assert sandbox.read_file("README.md") == "read me"
        assert sandbox.search_text("raise ", "src") == "src/a.py:2: raise ValueError('x')"
        assert sandbox.search_text("raise ", ".") == "src/a.py:2: raise ValueError('x')"
        assert sandbox.search_text("token", "src") == "nothing found for 'token' in 'src'"

    @pytest.mark.parametrize(
        "path",
        ["../outside.md", "link.md", ".git/config.md", "/etc/passwd", "src", "src/../README.md"],
    )
    def test_no_path_leads_out_of_the_list_of_files(self, project: Path, path: str) -> None:
        with pytest.raises(ToolError, match="no source file"):
            Sandbox(project).read_file(path)

    def test_output_is_bounded_and_says_how_much_was_cut(self, project: Path) -> None:
        text = Sandbox(project).read_file("src/long.py")
        assert text[:MAX_OUTPUT_CHARS] == ("x = 1\n" * 1000)[:MAX_OUTPUT_CHARS]
        assert text.endswith(f"[cut: {6000 - MAX_OUTPUT_CHARS} more characters]")

    def test_every_choice_that_a_schema_offers_can_be_carried_out(self, project: Path) -> None:
        for tool in Sandbox(project).tools():
            properties = tool.parameters["properties"]
            for name, schema in properties.items():
                for choice in schema["enum"]:
                    values = {key: other["enum"][0] for key, other in properties.items()}
                    result = run_call([tool], tool.name, json.dumps(values | {name: choice}))
                    assert not result.startswith("error"), result

    @pytest.mark.parametrize(
        ("name", "arguments", "word"),
        [
            ("delete_file", "{}", "no tool 'delete_file'; there are list_files"),
            ("read_file", "{not json", "error: "),
            ("read_file", "[]", "want exactly ['path']"),
            ("read_file", '{"path": "README.md", "mode": "w"}', "want exactly ['path']"),
            ("read_file", '{"path": "nowhere.py"}', "no source file 'nowhere.py'"),
        ],
    )
    def test_a_faulty_call_gives_its_error_as_the_result(
        self, project: Path, name: str, arguments: str, word: str
    ) -> None:
        result = run_call(Sandbox(project).tools(), name, arguments)
        assert result.startswith("error: ") and word in result

    def test_a_folder_without_sources_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="want a folder with source files"):
            Sandbox(tmp_path)


class Call(SimpleNamespace):
    """A tool call as the SDK gives it."""

    def model_dump(self, exclude_none: bool) -> dict[str, Any]:
        assert exclude_none
        function = {"name": self.function.name, "arguments": self.function.arguments}
        return {"id": self.id, "type": "function", "function": function}


class ScriptedClient:
    """Answers like the SDK: a read_file call where one is required, plain text elsewhere."""

    def __init__(self, obeys: bool = True, counts_cache: bool = True) -> None:
        self.obeys, self.counts_cache = obeys, counts_cache
        self.requests: list[dict[str, Any]] = []
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self.create))

    def create(self, **request: Any) -> Any:
        index = len(self.requests)
        self.requests.append(request | {"messages": list(request["messages"])})
        calls = None
        if request["tool_choice"] == "required" and self.obeys:
            function = SimpleNamespace(name="read_file", arguments='{"path": "README.md"}')
            calls = [Call(id=f"functions.read_file:{index}", function=function)]
        message = SimpleNamespace(
            content=None if calls else "done", reasoning_content=f"hm {index}", tool_calls=calls
        )
        cached = SimpleNamespace(cached_tokens=100 * index)
        return SimpleNamespace(
            choices=[SimpleNamespace(message=message, finish_reason="stop")],
            usage=SimpleNamespace(
                prompt_tokens=100 * (index + 1),
                completion_tokens=25,
                prompt_tokens_details=cached if self.counts_cache else None,
            ),
        )


class TestLoop:
    def test_history_keeps_thinking_calls_and_results_in_order(self, project: Path) -> None:
        client, seen = ScriptedClient(), []
        loop = AgentLoop(client, "kimi", Sandbox(project).tools())
        turns = loop.run(6, seen.append)
        assert seen == turns and [turn.number for turn in turns] == [1, 2, 3, 4, 5, 6]
        roles = [message["role"] for message in client.requests[-1]["messages"]]
        task = ["user", "assistant", "tool", "assistant", "tool", "assistant", "tool", "assistant"]
        assert roles == ["system", *task, "user", "assistant", "tool"]
        first_call, first_result = client.requests[1]["messages"][2:]
        assert first_call["reasoning_content"] == "hm 0" and first_call["content"] is None
        assert first_call["tool_calls"][0]["id"] == first_result["tool_call_id"]
        assert first_result["content"] == "read me"

    def test_thinking_is_bounded_and_each_fourth_turn_may_answer(self, project: Path) -> None:
        client = ScriptedClient()
        AgentLoop(client, "kimi", Sandbox(project).tools()).run(8, lambda turn: None)
        choices = [request["tool_choice"] for request in client.requests]
        assert choices == [*["required"] * 3, "auto"] * 2
        assert all(r["extra_body"] == {"max_thinking_tokens": 32} for r in client.requests)

    def test_reuse_is_measured_against_all_that_the_cache_can_hold(self, project: Path) -> None:
        turns = AgentLoop(ScriptedClient(), "kimi", Sandbox(project).tools()).run(6, lambda t: None)
        assert turns[0].reused_share is None
        assert turns[1].reusable_tokens == 125 and turns[1].reused_share == 100 / 125
        assert turns[1].action == "read_file" and turns[3].action == "answer"

    def test_a_required_call_that_does_not_come_ends_the_loop(self, project: Path) -> None:
        loop = AgentLoop(ScriptedClient(obeys=False), "kimi", Sandbox(project).tools())
        with pytest.raises(AgentError, match="turn 1: tool_choice='required', but no call came"):
            loop.run(6, lambda turn: None)

    def test_usage_without_cached_tokens_ends_the_loop(self, project: Path) -> None:
        loop = AgentLoop(ScriptedClient(counts_cache=False), "kimi", Sandbox(project).tools())
        with pytest.raises(AgentError, match="usage without"):
            loop.run(6, lambda turn: None)


class TestReport:
    turns = (
        Turn(1, "read_file", 100, 0, 0, 20, 1.0),
        Turn(2, "list_files, read_file", 200, 90, 120, 30, 2.0),
        Turn(3, "answer", 300, 230, 230, 10, 0.55),
    )

    def test_columns_are_aligned_and_the_first_turn_has_nothing_to_reuse(self) -> None:
        lines = [*report.header().splitlines(), *map(report.row, self.turns)]
        lines += report.totals(self.turns).splitlines()
        assert len({len(line) for line in lines}) == 1
        assert report.row(self.turns[0]).split() == [
            "1",
            "read_file",
            "100",
            "0",
            "-",
            "-",
            "20",
            "1.0",
            "s",
        ]

    def test_the_sum_of_shares_weighs_by_tokens_and_leaves_the_first_turn_out(self) -> None:
        sums = report.totals(self.turns).splitlines()[-1].split()
        assert sums == ["all", "3", "turns", "600", "320", "350", "91.4%", "60", "3.5", "s"]


class TestCommand:
    def test_fewer_than_six_turns_are_no_agent_loop(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        parser = argparse.ArgumentParser()
        command.add_parser(parser.add_subparsers(required=True))
        assert parser.parse_args(["demo"]).turns == 8
        with pytest.raises(SystemExit):
            parser.parse_args(["demo", "--turns", "5"])
        assert "at least 6, found '5'" in capsys.readouterr().err

    @pytest.mark.parametrize("port", ["0", "65536", "-1", "x"])
    def test_a_port_that_is_none_is_bad_usage(
        self, port: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        parser = argparse.ArgumentParser()
        command.add_parser(parser.add_subparsers(required=True))
        assert parser.parse_args(["demo", "--port", "31000"]).port == 31000
        with pytest.raises(SystemExit) as caught:
            parser.parse_args(["demo", f"--port={port}"])
        assert caught.value.code == 2
        assert f"want a number from 1 to 65535, found '{port}'" in capsys.readouterr().err

    def test_a_failing_step_ends_with_status_1_and_its_words(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        def fail(*_: object) -> None:
            raise command.DemoError("the disk is full")

        monkeypatch.setattr(command, "_write_checkpoint", fail)
        monkeypatch.setattr(command.signal, "signal", lambda *_: None)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        assert command.run(argparse.Namespace(serve=False, turns=6, port=None)) == 1
        assert list(tmp_path.iterdir()) == []
        assert capsys.readouterr().err == "\ndemo: the disk is full\n"

    def test_the_project_root_of_a_checkout_is_the_checkout(self) -> None:
        assert command.project_root() == Path(__file__).resolve().parents[2]


def test_progress_outside_a_terminal_is_a_line_each_ten_seconds() -> None:
    stream = io.StringIO()
    line = ProgressLine("server", stream)
    for second in range(25):
        line(float(second), f"step {second}")
    line.done("ready")
    assert stream.getvalue().splitlines() == [
        "server: 0 s, step 0",
        "server: 10 s, step 10",
        "server: 20 s, step 20",
        "server: ready",
    ]
