"""Habits of the whole repository: small files and functions, nothing unpickled, nothing left to do."""

from __future__ import annotations

import ast
import statistics
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path
    for pattern in (
        "deepseek_core/**/*.py",
        "backends/*/src/**/*.py",
        "toolkit/src/**/*.py",
        "examples/*/src/**/*.py",
        "scripts/*.py",
    )
    for path in ROOT.glob(pattern)
)
LONGEST_FILE, MEDIAN_FILE, LONG_FUNCTION = 500, 100, 25
UNSAFE = frozenset(("pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"))
UNFINISHED = ("TODO", "FIXME", "XXX", "HACK")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_files_are_small() -> None:
    lengths = {_name(path): _lines(path) for path in SOURCES}
    assert not {name: n for name, n in lengths.items() if n > LONGEST_FILE}
    assert statistics.median(lengths.values()) <= MEDIAN_FILE


def test_functions_are_small() -> None:
    lengths = [
        (node.end_lineno or 0) - node.lineno + 1 - _docstring_lines(node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert statistics.quantiles(lengths, n=10)[-1] <= LONG_FUNCTION


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    is_text = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return (first.end_lineno or 0) - first.lineno + 1 if is_text else 0


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_nothing_is_unpickled(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & UNSAFE
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in UNSAFE
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "torch.load"), called
            allowed = {k.arg: ast.unparse(k.value) for k in node.keywords}.get("allow_pickle")
            assert allowed in (None, "False")
            assert not called.endswith(("np.load", "numpy.load")) or allowed == "False", "np.load without allow_pickle"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_nothing_is_left_unfinished(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not [word for word in UNFINISHED if word in text]


def test_the_repository_holds_no_data_and_no_outputs() -> None:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    unwanted = (".onnx", ".ds", ".npy", ".npz", ".pth", ".pt", ".whl", ".jpg", ".jpeg", ".pyc")
    tracked = [ROOT / name for name in done.stdout.splitlines()]
    golden = [path for path in tracked if path.parent.name == "data" and "tests" in path.parts]
    assert not [path for path in tracked if path.suffix in unwanted and path not in golden]
    assert not [path for path in tracked if path.is_file() and path.stat().st_size > 1_000_000]
