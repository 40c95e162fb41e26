"""Virtual environments of their own for peers and for readers of model formats, from pinned versions."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

from quantization.cache import build, digest, root

__all__ = ["ENVIRONMENTS", "make", "pins", "python"]

_TORCH = ("torch==2.13.0",)
"""First and by its exact version: a range would take the newest build with gigabytes of CUDA."""

ENVIRONMENTS: Mapping[str, Sequence[Sequence[str]]] = {
    "iree": (("iree-base-compiler==3.13.0",),),
    "formats": (("gguf==0.19.0", "tokenizers==0.23.3", "safetensors==0.8.0", "numpy==2.4.6"),),
    "onnxruntime": (_TORCH, ("onnxruntime==1.32.0", "onnx==1.23.2", "onnx-ir==1.1.0", "sympy")),
    "modelopt": (_TORCH, ("nvidia-modelopt[onnx]==0.47.0",)),
    "quark": (_TORCH, ("amd-quark==0.13", "onnx==1.22.0", "onnxruntime==1.32.0")),
    "nncf": (_TORCH, ("nncf==3.4.0", "onnx==1.23.2", "onnxruntime==1.32.0")),
    "aimet": (_TORCH, ("torchvision==0.28.0",), ("aimet-onnx==2.42.0",)),
}
"""For each environment what pip installs, step by step."""


def pins(name: str) -> str:
    """What identifies an environment's contents."""
    return digest([], *(requirement for step in ENVIRONMENTS[name] for requirement in step), sys.version)


def make(name: str) -> Path:
    """The environment's folder, made where it is missing; this takes minutes.

    Raises:
        RuntimeError: pip fails; the message is its last line.
    """
    return build(root() / "environments" / f"{name}-{pins(name)}", lambda folder: _install(name, folder))


def python(name: str) -> Path:
    """The environment's interpreter."""
    return make(name) / "bin" / "python"


def _install(name: str, folder: Path) -> None:
    venv.create(folder, with_pip=True, symlinks=True)
    for step in ENVIRONMENTS[name]:
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([*pip, *step], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
            raise RuntimeError(f"environment '{name}': {lines[-1]}")
