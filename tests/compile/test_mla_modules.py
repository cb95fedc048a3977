"""`make compile-gpu` says what it did not check, and counts nothing as done that is not."""

from types import SimpleNamespace

import pytest

from tests.compile import mla_modules


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """Calls instead of nvcc's work; the object file of each is as good as the last exit status."""
    calls = SimpleNamespace(status=0, ninja=0)

    def run(command, **options):
        if "--write" in command:
            folder = command[-1]
            (tmp_path / "object").write_bytes(b"code")
            with open(f"{folder}/objects", "w") as listed:
                listed.write(f"build.ninja\n{tmp_path / 'object'}")
        calls.ninja += "ninja" in command
        text = "Cuda compilation tools, release 13.0, V13.0.88" if "--version" in command else ""
        return SimpleNamespace(returncode=calls.status, stdout=text, stderr="")

    monkeypatch.delenv(mla_modules.SWITCH, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(mla_modules.subprocess, "run", run)
    monkeypatch.setattr(mla_modules.shutil, "which", lambda name: f"/cuda/bin/{name}")
    return calls


def test_each_module_is_compiled_once_for_these_releases(compiled, capsys):
    assert mla_modules.main([]) == 0
    assert compiled.ninja == len(mla_modules.MODULES)
    assert mla_modules.main([]) == 0
    assert compiled.ninja == len(mla_modules.MODULES)
    assert capsys.readouterr().out.count("compiled before") == len(mla_modules.MODULES)


def test_what_failed_is_named_and_tried_again(compiled, capsys):
    compiled.status = 1
    assert mla_modules.main([]) == 1
    assert "failed: fa2 for sm_90a, fa3 for sm_90a, fa2 for sm_100a" in capsys.readouterr().err
    assert mla_modules.main([]) == 1
    assert compiled.ninja == 2 * len(mla_modules.MODULES)


def test_without_nvcc_it_fails_and_names_the_switch(compiled, monkeypatch, capsys):
    monkeypatch.setattr(mla_modules.shutil, "which", lambda name: None)
    assert mla_modules.main([]) == 1
    assert "or set SGLANG_KIMI_NO_NVCC=1" in capsys.readouterr().out


def test_the_switch_turns_it_off(compiled, monkeypatch, capsys):
    monkeypatch.setenv("SGLANG_KIMI_NO_NVCC", "1")
    assert mla_modules.main([]) == 0
    assert compiled.ninja == 0
    assert "off" in capsys.readouterr().out
