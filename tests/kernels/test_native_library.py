"""Which kernels a CPU gets: compiled ones, plain torch, or an error where the user insists."""

import pytest

from sglang_kimi.kernels.native import build, library


@pytest.fixture(autouse=True)
def chosen_anew(monkeypatch, tmp_path):
    """Let each test choose, with an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.native_library.cache_clear()
    yield
    library.native_library.cache_clear()


def without_compiler(monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(library, "FOLDER", tmp_path)


def test_a_library_is_compiled_once_and_found_again(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    if (first := library.native_library()) is None:
        pytest.skip("no kernel on this CPU, or no compiler")
    library.native_library.cache_clear()
    without_compiler(monkeypatch, tmp_path)
    again = library.native_library()
    assert again is not None
    assert again._name == first._name


def test_without_a_compiler_plain_torch_does_the_work_with_a_warning(monkeypatch, tmp_path, caplog):
    without_compiler(monkeypatch, tmp_path)
    assert library.native_library() is None
    assert "plain torch" in caplog.text
    assert "install g++" in caplog.text


def test_native_that_cannot_be_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv(library.VARIABLE, "native")
    without_compiler(monkeypatch, tmp_path)
    with pytest.raises(RuntimeError, match=r"SGLANG_KIMI_CPU_KERNELS=native: no C\+\+ compiler"):
        library.native_library()


def test_torch_never_looks_for_a_compiler(monkeypatch):
    monkeypatch.setenv(library.VARIABLE, "torch")
    monkeypatch.setattr(library, "compile_library", None)
    assert library.native_library() is None


def test_another_word_is_refused_with_the_right_ones(monkeypatch):
    monkeypatch.setenv(library.VARIABLE, "fast")
    with pytest.raises(ValueError, match="got 'fast', want one of auto, native, torch"):
        library.native_library()


def test_a_cpu_without_the_instructions_is_named(monkeypatch, caplog):
    monkeypatch.setattr(library, "_cpu_flags", lambda: {"sse2"})
    assert library.native_library() is None
    assert "lacks avx2" in caplog.text


def test_a_failing_compiler_shows_its_words(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(build.BuildError, match=r"false .* failed"):
        build.compile_library(tmp_path)


def test_changed_sources_have_another_name(monkeypatch):
    name = build.library_name()
    monkeypatch.setattr(build, "_FLAGS", ("-O0",))
    assert build.library_name() != name
