"""The folder outside the repository where networks, data, environments and results are kept."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

__all__ = ["VARIABLE", "build", "code", "digest", "root"]

VARIABLE = "DEEPSEEK_BENCHMARKS"
"""Environment variable that names another folder."""


def root() -> Path:
    """The cache folder: `$DEEPSEEK_BENCHMARKS`, or `deepseek-benchmarks` in the user's cache folder."""
    named = os.environ.get(VARIABLE)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(named) if named else home / "deepseek-benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, made by `make` in a temporary neighbour unless it exists: it is there whole or not at all."""
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        make(draft)
        with contextlib.suppress(OSError):  # another process may have been faster
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    if not folder.exists():
        raise OSError(f"cannot write {folder}")
    return folder


def digest(files: Iterable[Path], *texts: str) -> str:
    """Sixteen hexadecimal digits of SHA-256 over the files' names and bytes, and the texts."""
    total = sha256()
    for file in files:
        total.update(file.name.encode() + b"\0" + sha256(file.read_bytes()).digest())
    for text in texts:
        total.update(sha256(text.encode()).digest())
    return total.hexdigest()[:16]


def code(files: Iterable[Path]) -> str:
    """A digest of what Python files do: their syntax trees, so that a comment or a line break changes nothing."""
    total = sha256()
    for file in files:
        total.update(file.name.encode() + b"\0" + ast.dump(ast.parse(file.read_bytes())).encode())
    return total.hexdigest()[:16]
