"""What is public is said to be, exists, and is explained."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import deepseek_core

ROOT = Path(__file__).resolve().parents[1]
CORE = sorted((ROOT / "deepseek_core").rglob("*.py"))
NESTED = sorted(p for folder in ("backends/*", "examples/*", "toolkit") for p in ROOT.glob(f"{folder}/src/**/*.py"))


def _module(path: Path) -> str:
    parts = path.with_suffix("").relative_to(ROOT).parts
    parts = parts[parts.index("src") + 1 :] if "src" in parts else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", [*CORE, *NESTED], ids=_module)
def test_every_module_lists_what_is_public(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assigned = [
        ast.unparse(target)
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    assert "__all__" in assigned


@pytest.mark.parametrize("path", CORE, ids=_module)
def test_public_names_exist_and_have_docstrings(path: Path) -> None:
    if path.name == "__main__.py":
        return
    module = importlib.import_module(_module(path))
    assert module.__doc__, f"{module.__name__} has no docstring"
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        member = getattr(module, name)
        if (inspect.isclass(member) or inspect.isfunction(member)) and member.__module__ == module.__name__:
            own = member.__dict__.get("__doc__") if inspect.isclass(member) else member.__doc__
            generated = own is not None and own.startswith(f"{name}(")  # a dataclass makes one up
            assert own, f"{module.__name__}.{name} has no docstring"
            assert not generated, f"{module.__name__}.{name} has no docstring of its own"


def test_the_top_level_lists_its_names_once() -> None:
    tree = ast.parse((ROOT / "deepseek_core" / "__init__.py").read_text(encoding="utf-8"))
    (checked,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {alias.name for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == set(deepseek_core.__all__) - {"__version__"}
    for name in deepseek_core.__all__:
        assert getattr(deepseek_core, name) is not None
    assert set(dir(deepseek_core)) == set(deepseek_core.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        deepseek_core.nothing  # noqa: B018


def test_importing_the_core_is_light() -> None:
    code = "import sys, deepseek_core; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "onnx", "onnx_ir", "onnxruntime", "torch", "pluggy", "click", "rich"}
    assert not heavy.intersection(done.stdout.split())
