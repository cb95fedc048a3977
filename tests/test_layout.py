"""The rooms keep their arrows, `launch -> sglang_kimi -> {parsers, kernels}`, in lazy imports too.

Read from the syntax tree, so nothing is imported and no optional library is needed.
"""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGE = "sglang_kimi"
ROOMS = ("parsers", "kernels", "launch")
FORBIDDEN = {
    "sglang_kimi.parsers": ("sglang", "transformers", "sglang_kimi"),
    "sglang_kimi.kernels": ("sglang", "transformers", "xgrammar", "sglang_kimi"),
    "sglang_kimi.codec": ("sglang", "torch", "transformers"),
    "sglang_kimi.launch": ("sglang",),
    "sglang_kimi": ("sglang_kimi.launch",),
}
"""By package: what its modules never import. A package's own modules are always allowed."""
LIGHT_BEFORE_USE = ("sglang_kimi.parsers", "sglang_kimi.launch", "sglang_kimi.codec")
HEAVY = ("torch", "transformers", "xgrammar", "llguidance", "jsonschema", "sglang", "openai")
"""Never imported at module level in a package that the command line loads at start."""
HEAVY_ON_PURPOSE = (
    "sglang_kimi.launch.mini",
    *("sglang_kimi.launch.bench.kernel_table", "sglang_kimi.launch.bench.kernel_peers"),
    *("sglang_kimi.launch.bench.kernel_experts", "sglang_kimi.launch.bench.kt_kernel_rows"),
    "sglang_kimi.launch.bench.kt_kernel_process",
    *("sglang_kimi.launch.bench.kernel_row", "sglang_kimi.launch.bench.kernel_dense_rows"),
    *("sglang_kimi.launch.bench.layer_experts", "sglang_kimi.launch.bench.layer_table"),
    "sglang_kimi.launch.bench.gguf_kimi",
)
"""Loaded only when a checkpoint is written or kernels run: torch may stand at their top."""


def modules() -> dict[str, Path]:
    """Return every source file of the package by its installed module name."""
    found = {}
    for folder in (PACKAGE, *ROOMS):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts if folder == PACKAGE else (PACKAGE, *parts)
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(module: str, path: Path, tree: ast.AST | None = None) -> Iterator[tuple[int, str]]:
    """Yield (line, full name) for what a file imports, relative and `from` imports resolved."""
    is_package = path.name == "__init__.py"
    for node in ast.walk(tree or ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = node.level - 1 if is_package else node.level
            base = module.split(".")[: len(module.split(".")) - up] if node.level else []
            source = ".".join(filter(None, [*base, node.module or ""]))
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def top_level_imports(module: str, path: Path) -> Iterator[tuple[int, str]]:
    """Yield the imports that run when the module is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))

    class WithoutFunctions(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if "TYPE_CHECKING" in ast.dump(node.test) else self.generic_visit(node)

    yield from imports(module, path, WithoutFunctions().visit(tree))


def is_within(name: str, package: str) -> bool:
    """Tell whether a dotted name is the package or something in it."""
    return name == package or name.startswith(f"{package}.")


def package_of(module: str) -> str:
    """Return the innermost package that has a rule for this module."""
    return max((p for p in FORBIDDEN if is_within(module, p)), key=len)


def broken_arrows(module: str, path: Path) -> list[str]:
    """Return a line for each import that the room of `module` must not have."""
    package = package_of(module)
    return [
        f"{path.relative_to(ROOT)}:{line}: {package} imports {name}"
        for line, name in imports(module, path)
        if not is_within(name, package) or package == PACKAGE
        for forbidden in FORBIDDEN[package]
        if is_within(name, forbidden)
    ]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_module_imports_against_the_arrows(package: str) -> None:
    mine = {name: path for name, path in modules().items() if package_of(name) == package}
    assert mine
    assert [line for name, path in mine.items() for line in broken_arrows(name, path)] == []


def test_an_import_against_the_arrows_is_found_wherever_it_hides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "parsers" / "bad.py"
    path.parent.mkdir()
    path.write_text(
        "from .vocabulary import Vocabulary\n"
        "def late():\n"
        "    from sglang.srt import utils\n"
        "    from .. import codec\n"
        "    import xgrammar\n"
    )
    assert broken_arrows("sglang_kimi.parsers.bad", path) == [
        "parsers/bad.py:3: sglang_kimi.parsers imports sglang.srt.utils",
        "parsers/bad.py:4: sglang_kimi.parsers imports sglang_kimi.codec",
    ]


def test_rooms_are_imported_by_their_full_name_only() -> None:
    tests = {f"tests.{p.stem}": p for p in sorted((ROOT / "tests").rglob("*.py"))}
    bare = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for module, path in (modules() | tests).items()
        for line, name in imports(module, path)
        if name.split(".")[0] in ROOMS
    ]
    assert bare == []


def test_what_the_command_line_loads_imports_heavy_libraries_only_where_they_are_used() -> None:
    early = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for module, path in modules().items()
        if any(is_within(module, package) for package in LIGHT_BEFORE_USE)
        if not any(is_within(module, package) for package in HEAVY_ON_PURPOSE)
        for line, name in top_level_imports(module, path)
        if name.split(".")[0] in HEAVY
    ]
    assert early == []


def test_pyproject_lists_every_package_folder_and_no_other() -> None:
    """A folder missing from the list is silently absent from the wheel."""
    folders = {n for n, path in modules().items() if path.name == "__init__.py"}
    listed = PYPROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(folders)


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in modules().values()}
    assert [str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").is_file()] == []


def test_every_room_states_what_it_is_in_its_init() -> None:
    for name, path in modules().items():
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), name


def test_sglang_is_pinned_to_one_release() -> None:
    pins = [d for d in PYPROJECT["project"]["dependencies"] if d.startswith("sglang")]
    assert len(pins) == 1 and pins[0].startswith("sglang==")
