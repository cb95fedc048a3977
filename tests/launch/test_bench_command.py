"""`sglang-kimi bench codec`: parts, exit status, the plot."""

import sys
from pathlib import Path

import pytest

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.bench import command, plot
from sglang_kimi.launch.bench.plot import PlotData
from sglang_kimi.launch.bench.reuse_figures import Usage
from sglang_kimi.launch.bench.reuse_rows import ROWS
from sglang_kimi.launch.bench.scripted_agent import ScriptError
from sglang_kimi.launch.cli import main
from sglang_kimi.launch.server_process import ServerError


def run(monkeypatch, *results, arguments=()):
    """Run the command with parts that return or raise `results`."""

    def part(number, result):
        def show(workshop):
            if isinstance(result, Exception):
                raise result
            return result

        return command.Part(f"part{number}", "what it does", show)

    monkeypatch.setattr(command, "PARTS", [part(n, r) for n, r in enumerate(results)])
    return main(["bench", "codec", *arguments])


def test_without_a_part_all_run_and_a_miss_is_named(monkeypatch, capsys):
    assert run(monkeypatch, [], ["row nine: 3 of 7 full"]) == 1
    shown = capsys.readouterr()
    assert "part0" in shown.out and "part1" in shown.out
    assert "missed: row nine: 3 of 7 full" in shown.err


def test_only_the_chosen_part_runs(monkeypatch, capsys):
    assert run(monkeypatch, ["missed"], [], arguments=["--part", "part1"]) == 0
    assert "part0" not in capsys.readouterr().out


def test_an_unknown_part_is_refused(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, [], arguments=["--part", "all"])
    assert "part0" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ServerError("it ended"), ScriptError("it ended")])
def test_a_server_that_fails_ends_it_with_a_line_and_leaves_its_log(monkeypatch, capsys, error):
    assert run(monkeypatch, error) == 1
    line, where = capsys.readouterr().err.splitlines()
    folder = Path(where.removeprefix("The servers' logs: "))
    assert line == "bench: it ended" and folder.is_dir()
    folder.rmdir()


def test_the_default_vocabulary_is_the_minis(monkeypatch, capsys, mini_checkpoint):
    def show(workshop):
        return [f"{workshop.vocabulary.size} ids"]

    monkeypatch.setattr(command, "PARTS", [command.Part("size", "of the vocabulary", show)])
    assert main(["bench", "codec"]) == 1
    assert f"{Vocabulary.load(mini_checkpoint).size} ids" in capsys.readouterr().err


@pytest.mark.parametrize("turns", ["1", "-3", "x"])
def test_too_few_turns_are_refused(turns, capsys):
    with pytest.raises(SystemExit):
        main(["bench", "codec", "--turns", turns])
    assert "from 2 up" in capsys.readouterr().err


LOOP = (Usage(100, 20, 0), Usage(150, 20, 119), Usage(200, 20, 160))
LOOPS = [(LOOP, LOOP)] * len(ROWS)
COSTS = [(16_000, 1.0, 20.0), (64_000, 1.5, 80.0)]


class TestPlot:
    @pytest.mark.parametrize("data", [PlotData(COSTS), PlotData([], LOOPS), PlotData(COSTS, LOOPS)])
    def test_what_was_measured_is_drawn(self, tmp_path, data):
        path = tmp_path / "plot.svg"
        plot.draw(path, data)
        num_axes = path.read_text().count('id="axes_')
        assert num_axes == bool(data.costs) + 2 * bool(data.loops)

    def test_means_are_of_each_turn(self):
        assert plot.mean_computed([LOOP, [Usage(0, 0, 0), Usage(9, 0, 0), Usage(8, 0, 0)]]) == [
            (31 + 9) / 2,
            (40 + 8) / 2,
        ]

    @pytest.mark.parametrize(
        ("name", "parts", "word"),
        [
            ("a.xyz", ["cost"], "ends in .png"),
            ("none/a.png", ["cost"], "no folder"),
            ("a.png", ["pages"], "want the part cost or reuse"),
        ],
    )
    def test_what_cannot_be_drawn_is_refused_before_the_work(
        self, tmp_path, capsys, name, parts, word
    ):
        path = str(tmp_path / name)
        assert main(["bench", "codec", "--plot", path, "--part", *parts]) == 2
        assert word in capsys.readouterr().err

    def test_without_matplotlib_the_extra_is_named(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        assert main(["bench", "codec", "--plot", str(tmp_path / "a.png")]) == 2
        assert "sglang-kimi[plot]" in capsys.readouterr().err
