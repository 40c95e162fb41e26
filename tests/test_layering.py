"""Who may import whom, over the syntax trees: one direction in the core, public names only in backends."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ORDER = (
    "errors",
    "scheme",
    "target",
    "atomic",
    "frame",
    "ir",
    "data",
    "recipe",
    "cost",
    "executable",
    "artifact",
    "placement",
    "expectations",
    "options",
    "passes",
    "calibration",
    "hookspecs",
    "registry",
    "survey",
    "onnx_backend",
    "selection",
    "partition",
    "reference",
    "lowering",
    "observe",
    "quantize",
    "package",
    "files",
    "readers",
    "runtime",
    "pipeline",
    "cross",
    "cross_source",
    "image_file",
    "plan",
    "profile",
    "summary",
    "bench",
    "diff",
    "conformance",
    "cli",
)
"""Each part of the core imports only parts before it."""

_PUBLIC_PARTS = ("calibration", "conformance", "errors", "ir", "lowering", "partition", "passes", "selection")
PUBLIC = ("deepseek_core", *(f"deepseek_core.{part}" for part in _PUBLIC_PARTS))
"""All that a backend may import of the core; docs/architecture.md lists the same."""

NEVER_AT_IMPORT = frozenset(("torch", "onnxruntime", "tensorrt", "PIL", "cryptography", "scipy", "highspy", "pandas"))
"""Imported inside functions or not at all."""
NOT_FOR_DISCOVERY = NEVER_AT_IMPORT | {"onnx", "onnx_ir", "onnxscript", "numpy", "ml_dtypes", "rich"}
"""What importing the registry and every backend's plugin module leaves alone."""

CORE = sorted((ROOT / "deepseek_core").rglob("*.py"))
BACKENDS = sorted(
    package
    for pattern in ("backends/*/src/*", "examples/*/src/*")
    for package in ROOT.glob(pattern)
    if package.name.startswith("deepseek_backend_") and package.is_dir() and package.suffix == ""
)


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _module(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(nodes: Iterator[ast.AST], package: str) -> Iterator[tuple[str, str, int]]:
    """`(module, name, line)` of each import; name is empty for `import module`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{package}:{node.lineno}: relative import"
            yield from ((node.module or "", alias.name, node.lineno) for alias in node.names)


def _at_import_time(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _at_import_time(node)


def _part(module: str, name: str) -> str | None:
    """The part of the core an import reaches; None for the package's own lazy names."""
    parts = module.split(".")
    if parts[0] != "deepseek_core":
        return None
    if len(parts) > 1:
        return parts[1]
    return name if name in ORDER else None


def test_every_part_of_the_core_has_a_place_in_the_order() -> None:
    parts = {p.relative_to(ROOT / "deepseek_core").parts[0].removesuffix(".py") for p in CORE} - {"__init__"}
    assert parts <= set(ORDER), f"not in ORDER: {sorted(parts - set(ORDER))}"


@pytest.mark.parametrize("path", CORE, ids=_module)
def test_the_core_imports_downwards(path: Path) -> None:
    mine = path.relative_to(ROOT / "deepseek_core").parts[0].removesuffix(".py")
    if mine == "__init__":
        return
    wrong = [
        f"line {line}: {module}"
        for module, name, line in _imports(ast.walk(_tree(path)), _module(path))
        if (part := _part(module, name)) is not None and ORDER.index(part) > ORDER.index(mine)
    ]
    assert not wrong, f"{mine} imports what is above it: {wrong}"


def test_no_cycles_between_modules() -> None:
    modules = {_module(path): path for path in CORE}
    graph = {}
    for name, path in modules.items():
        found = set()
        for module, imported, _ in _imports(_at_import_time(_tree(path)), name):
            target = f"{module}.{imported}"
            found |= {target} if target in modules else {module} & modules.keys()
        graph[name] = found - {"deepseek_core"}  # its names are lazy
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' → '.join(error.args[1])}")


@pytest.mark.parametrize("path", CORE, ids=_module)
def test_the_core_imports_nothing_heavy_at_module_level(path: Path) -> None:
    found = {module.split(".")[0] for module, _, _ in _imports(_at_import_time(_tree(path)), _module(path))}
    assert not found & NEVER_AT_IMPORT


@pytest.mark.parametrize("package", BACKENDS, ids=lambda package: package.name)
def test_backends_import_public_names_only(package: Path) -> None:
    wrong = []
    for path in sorted(package.rglob("*.py")):
        for module, name, line in _imports(ast.walk(_tree(path)), path.name):
            where = f"{path.relative_to(ROOT)}:{line}: {module} {name}"
            if module.startswith("deepseek_backend_") and module.split(".")[0] != package.name:
                wrong.append(f"{where} is another backend")
            if module.split(".")[0] == "deepseek_core" and (module not in PUBLIC or not name):
                wrong.append(f"{where} is not public")
            elif module in PUBLIC and name not in _exported(module):
                wrong.append(f"{where} is not in __all__")
    assert not wrong, "\n".join(wrong)


def test_there_are_backends_to_check() -> None:
    assert {"deepseek_backend_cpu", "deepseek_backend_echo"} <= {package.name for package in BACKENDS}


def test_the_architecture_page_lists_the_public_subpackages() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("- `deepseek_core")]
    assert listed == list(PUBLIC)


@pytest.mark.parametrize("plugin", sorted(e.value for e in entry_points(group="deepseek.backends")))
def test_discovery_imports_nothing_heavy(plugin: str) -> None:
    code = f"import sys, deepseek_core.registry, {plugin}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not NOT_FOR_DISCOVERY.intersection(done.stdout.split())


@functools.cache
def _exported(module: str) -> tuple[str, ...]:
    folder = ROOT.joinpath(*module.split("."))
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    for node in _tree(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return tuple(ast.literal_eval(node.value))
    return ()
