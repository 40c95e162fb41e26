"""Packages of peers from pinned versions: for the emulated CPU, and for this machine where they compile here."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from quantization.cache import build, digest, root

__all__ = ["device_packages", "host_python", "versions"]

DEVICE = {
    "onnxruntime": ("onnxruntime==1.32.0", "numpy==2.4.6"),
    "iree": ("iree-base-runtime==3.13.0", "numpy==2.4.6"),
    "tvm": ("apache-tvm==0.27.0.post1", "apache-tvm-ffi==0.1.15.post2", "numpy==2.4.6"),
}
"""Wheels for ARM64 Linux and Python 3.11."""
HOST = {
    "iree": ("iree-base-compiler==3.13.0", "onnx==1.23.2"),
    "tvm": ("apache-tvm==0.27.0.post1", "apache-tvm-ffi==0.1.15.post2", "onnx==1.23.2"),
}
_PLATFORMS = ("manylinux_2_17_aarch64", "manylinux_2_24_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")


def versions(peer: str) -> str:
    """What of the peer is compared, for people: its distribution and version."""
    return (HOST.get(peer) or DEVICE[peer])[0].replace("==", " ")


def device_packages(peer: str) -> Path:
    """Folder of a peer's packages for the emulated CPU.

    Raises:
        RuntimeError: pip fails; the message is its last line.
    """
    return build(_folder(peer, "arm", DEVICE[peer]), lambda folder: _fetch(peer, folder))


def host_python(peer: str) -> Path:
    """Interpreter with a peer's compiler for ARM64.

    Raises:
        RuntimeError: pip fails; the message is its last line.
    """
    return build(_folder(peer, "host", HOST[peer]), lambda folder: _install(peer, folder)) / "bin" / "python"


def _folder(peer: str, side: str, pins: Sequence[str]) -> Path:
    return root() / "environments" / f"{peer}-{side}-{digest([], *pins, *_PLATFORMS)}"


def _fetch(peer: str, folder: Path) -> None:
    platforms = [word for name in _PLATFORMS for word in ("--platform", name)]
    python = ["--python-version", "3.11", "--implementation", "cp", "--only-binary=:all:"]
    _pip(sys.executable, ["--target", str(folder), *platforms, *python, *DEVICE[peer]], peer)


def _install(peer: str, folder: Path) -> None:
    venv.create(folder, with_pip=True, symlinks=True)
    _pip(str(folder / "bin" / "python"), HOST[peer], peer)


def _pip(python: str, words: Sequence[str], peer: str) -> None:
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise RuntimeError(f"packages of '{peer}': {lines[-1]}")
