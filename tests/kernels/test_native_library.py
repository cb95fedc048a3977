"""Which kernels a CPU gets: compiled ones, plain torch, or an error where the user insists."""

import logging
import shutil

import pytest
import torch

from sglang_kimi.kernels.native import build, library, self_check

WITHOUT = {"avx512": {"avx512_vnni"}, "avx2": {"avx2"}}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Return a folder with every library, from the user's cache where they are in it."""
    if shutil.which("g++") is None:
        pytest.skip("no compiler")
    folder = tmp_path_factory.mktemp("compiled")
    for variant in build.VARIANTS:
        shutil.copy(library._find_or_compile(variant), folder)
    return folder


@pytest.fixture(autouse=True)
def chosen_anew(monkeypatch, tmp_path, caplog):
    """Let each test choose, with an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(library.VARIABLE, raising=False)
    caplog.set_level(logging.INFO)
    library.native_library.cache_clear()
    yield
    library.native_library.cache_clear()


def without_compiler(monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(library, "FOLDER", tmp_path)


def with_flags(monkeypatch, *missing):
    flags = set().union(*library._NEEDED_FLAGS.values()) - set(missing)
    monkeypatch.setattr(library, "_cpu_flags", lambda: flags)


def this_cpu_runs(variant):
    if library._missing_instructions(variant):
        pytest.skip(f"this CPU has no {variant}")


def test_a_library_is_compiled_once_into_the_cache_and_found_again(compiled, monkeypatch, tmp_path):
    this_cpu_runs("avx2")
    targets = []

    def compile_library(folder, variant):
        targets.append(folder / build.library_name(variant))
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(compiled / targets[-1].name, folder)
        return targets[-1]

    monkeypatch.setattr(library, "FOLDER", tmp_path)
    monkeypatch.setattr(library, "compile_library", compile_library)
    first = library.native_library()
    library.native_library.cache_clear()
    again = library.native_library()
    assert [str(target) for target in targets] == [first._name] == [again._name]


@pytest.mark.parametrize("variant", list(build.VARIANTS))
def test_a_variant_that_is_asked_for_is_taken_and_the_log_says_so(
    variant, compiled, monkeypatch, caplog
):
    this_cpu_runs(variant)
    monkeypatch.setattr(library, "FOLDER", compiled)
    monkeypatch.setenv(library.VARIABLE, variant)
    chosen = library.native_library()
    assert f"-{variant}-" in chosen._name
    assert f"{chosen._name} ({library.VARIABLE}={variant}" in caplog.text


@pytest.mark.parametrize("variant", list(build.VARIANTS))
def test_a_variant_this_cpu_lacks_is_an_error_that_names_the_instruction(variant, monkeypatch):
    with_flags(monkeypatch, *WITHOUT[variant])
    monkeypatch.setenv(library.VARIABLE, variant)
    monkeypatch.setattr(library, "compile_library", None)
    (flag,) = WITHOUT[variant]
    with pytest.raises(RuntimeError, match=rf"=({variant}): \1: this CPU \(.*\) lacks {flag}"):
        library.native_library()


def test_avx2_is_taken_where_there_is_no_avx512(compiled, monkeypatch, caplog):
    this_cpu_runs("avx2")
    with_flags(monkeypatch, "avx512_vnni")
    monkeypatch.setattr(library, "FOLDER", compiled)
    assert "-avx2-" in library.native_library()._name
    assert "avx512: this CPU (x86_64) lacks avx512_vnni" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_library_that_computes_wrongly_is_not_used_and_the_warning_says_so(
    compiled, monkeypatch, caplog
):
    this_cpu_runs("avx512")
    monkeypatch.setattr(library, "FOLDER", compiled)
    true_product = self_check.native_moe_int4

    def product(checked, *arguments):
        right = true_product(checked, *arguments)
        return -right if "-avx512-" in checked._name else right

    monkeypatch.setattr(self_check, "native_moe_int4", product)
    assert "-avx2-" in library.native_library()._name
    assert "no avx512, which this CPU could run; kimi_moe_int4 is wrong" in caplog.text


@pytest.mark.parametrize(
    ("product", "kernel"),
    [
        ("native_moe_int4", "kimi_moe_int4"),
        ("native_bf16_bmm", "kimi_bf16_linear"),
        ("native_bf16_mlp", "kimi_bf16_mlp"),
        ("native_mla_absorbed_batch", "kimi_mla_absorbed"),
        ("native_mla_layer", "kimi_mla_layer"),
        ("native_decoder_layer", "kimi_decoder_layer"),
        ("native_mla_expanded", "kimi_mla_expanded"),
    ],
)
@pytest.mark.parametrize("value", [0.0, torch.nan])
def test_every_kernel_is_checked(product, kernel, value, compiled, monkeypatch):
    this_cpu_runs("avx2")
    monkeypatch.setattr(library, "FOLDER", compiled)
    chosen = library.native_library()
    monkeypatch.setattr(self_check, product, lambda *_, **__: torch.tensor(value))
    with pytest.raises(library.CheckError, match=f"{kernel} is wrong: relative error"):
        self_check.check_library(chosen)


def test_without_a_compiler_plain_torch_does_the_work_with_a_warning(monkeypatch, tmp_path, caplog):
    without_compiler(monkeypatch, tmp_path)
    assert library.native_library() is None
    assert "plain torch" in caplog.text
    assert "install g++" in caplog.text


def test_native_that_cannot_be_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv(library.VARIABLE, "native")
    without_compiler(monkeypatch, tmp_path)
    with pytest.raises(RuntimeError, match=r"SGLANG_KIMI_CPU_KERNELS=native: .*no C\+\+ compiler"):
        library.native_library()


def test_torch_never_looks_for_a_compiler(monkeypatch):
    monkeypatch.setenv(library.VARIABLE, "torch")
    monkeypatch.setattr(library, "compile_library", None)
    assert library.native_library() is None


def test_another_word_is_refused_with_the_right_ones(monkeypatch):
    monkeypatch.setenv(library.VARIABLE, "fast")
    with pytest.raises(ValueError, match="'fast', want one of auto, avx512, avx2, native, torch"):
        library.native_library()


def test_a_cpu_without_the_instructions_is_named(monkeypatch, caplog):
    monkeypatch.setattr(library, "_cpu_flags", lambda: {"sse2"})
    assert library.native_library() is None
    assert "lacks avx2" in caplog.text


def test_a_failing_compiler_shows_its_words(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(build.BuildError, match=r"false .* failed"):
        build.compile_library(tmp_path, "avx2")


def test_changed_flags_and_other_instructions_have_another_name(monkeypatch):
    name = build.library_name("avx2")
    assert build.library_name("avx512") != name
    monkeypatch.setattr(build, "_FLAGS", ("-O0",))
    assert build.library_name("avx2") != name
