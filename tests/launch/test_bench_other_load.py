"""What is timed on a machine that is at work for others is said to be so."""

import subprocess
import sys

import pytest

from sglang_kimi.launch.bench import other_load
from sglang_kimi.launch.bench.other_load import cores_in_use, warn_of_other_load


def test_a_process_that_computes_is_seen():
    with subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) as process:
        try:
            assert cores_in_use(0.3) > 0.5
        finally:
            process.kill()


@pytest.mark.parametrize(("cores", "warns"), [(0.1, False), (1.5, True)])
def test_a_busy_machine_is_said_beforehand(cores, warns, monkeypatch, capsys):
    monkeypatch.setattr(other_load, "cores_in_use", lambda seconds: cores)
    warn_of_other_load()
    printed = capsys.readouterr()
    assert ("other processes use 1.5 of" in printed.err) == warns
    assert not printed.out
