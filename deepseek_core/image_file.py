"""Stand-alone programs that a backend built: what is in one, and how it is run from here.

An image that can be run carries the marker `DSIMAGE1`, then JSON up to a zero byte: target, format, inputs, outputs.
"""

from __future__ import annotations

import json
from pathlib import Path

from deepseek_core.artifact import Artifact
from deepseek_core.errors import PackageError, TargetError
from deepseek_core.executable import Executable
from deepseek_core.registry import Registry
from deepseek_core.target import Target

__all__ = ["MARKER", "is_program", "open_image"]

MARKER = b"DSIMAGE1"
_ELF = b"\x7fELF"


def is_program(path: Path) -> bool:
    """Whether a file is an executable of Linux or of firmware."""
    with path.open("rb") as file:
        return file.read(len(_ELF)) == _ELF


def open_image(path: Path, registry: Registry, device: str | None = None) -> tuple[Artifact, Executable]:
    """An image and what runs it here: the machine itself or an emulator, as its tier says.

    Raises:
        PackageError: the program is no image of a model, or damaged.
        TargetError: the backend that built it is not installed.
        BackendError: what would run it is not here.
    """
    payload = path.read_bytes()
    artifact = Artifact(*_described(payload, path))
    return artifact, registry.backend(artifact.target.backend).load(artifact, device)


def _described(payload: bytes, path: Path) -> tuple[Target, bytes, str]:
    start = payload.find(MARKER + b"{")
    end = payload.find(b"\0", start)
    if start < 0 or end < 0:
        raise PackageError(f"{path} is a program, but no image of a model", fix="build one: deepseek-cross-compile")
    try:
        said = json.loads(payload[start + len(MARKER) : end])
        return Target.parse(str(said["target"])), payload, str(said["format"])
    except (ValueError, KeyError, TypeError, TargetError):
        raise PackageError(f"{path} is damaged: it does not say what it is for", fix="build it again") from None
