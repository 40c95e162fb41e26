"""Who may import whom: the toolkit takes public names of the core, and nothing below takes the toolkit."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "toolkit" / "src"
MODULES = sorted(SOURCE.rglob("*.py"))
BELOW = sorted(path for pattern in ("deepseek_core/**/*.py", "backends/*/src/**/*.py") for path in ROOT.glob(pattern))

NEVER_AT_IMPORT = frozenset(("torch", "onnxruntime", "PIL", "scipy"))
"""Imported inside functions: a user of ONNX models needs no torch."""


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path, root: Path = SOURCE) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(nodes: Iterator[ast.AST]) -> Iterator[tuple[str, str, int]]:
    """`(module, name, line)`; the name is empty for `import module`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name, node.lineno) for alias in node.names)


def at_import_time(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from at_import_time(child)


@functools.cache
def exported(module: str) -> tuple[str, ...]:
    folder = ROOT.joinpath(*module.split("."))
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    for node in tree(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return tuple(ast.literal_eval(node.value))
    return ()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_toolkit_takes_public_names_of_the_core_only(path: Path) -> None:
    wrong = []
    for module, name, line in imports(ast.walk(tree(path))):
        top = module.split(".")[0]
        if top.startswith("deepseek_backend"):
            wrong.append(f"line {line}: {module} is a backend")
        if top == "deepseek_core" and (not name or name not in exported(module)):
            wrong.append(f"line {line}: {module} {name} is not in __all__")
    assert not wrong, wrong


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_heavy_is_imported_with_the_toolkit(path: Path) -> None:
    found = {module.split(".")[0] for module, _, _ in imports(at_import_time(tree(path)))}
    assert not found & NEVER_AT_IMPORT


def test_nothing_below_imports_the_toolkit() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in BELOW
        for module, _, line in imports(ast.walk(tree(path)))
        if module.split(".")[0] == "deepseek"
    ]
    assert not wrong
    assert len(BELOW) > 100


def test_no_cycles_between_modules() -> None:
    modules = {name_of(path): path for path in MODULES}
    graph = {}
    for name, path in modules.items():
        found = set()
        for module, imported, _ in imports(at_import_time(tree(path))):
            target = f"{module}.{imported}"
            found |= {target} if target in modules else {module} & modules.keys()
        graph[name] = found - {name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' → '.join(error.args[1])}")


def test_the_quantizer_loads_without_torch() -> None:
    code = "import sys; from deepseek.quantization import Quantizer; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not NEVER_AT_IMPORT.intersection(done.stdout.split())
