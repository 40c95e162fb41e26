"""An image, run from here: on this machine, or on the CPU that QEMU emulates."""

from __future__ import annotations

import json
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_arm.emulator import QEMU_FIX, find_qemu
from deepseek_backend_arm.image.csource import MARKER
from deepseek_backend_arm.plan.program import TYPES
from deepseek_backend_arm.probe import device_name
from deepseek_backend_arm.targets import cpu_of
from deepseek_backend_arm.toolchain import is_arm
from deepseek_core import Artifact, Feeds, TensorInfo, Tier
from deepseek_core.errors import BackendError, PackageError

__all__ = ["IMAGE_FORMAT", "ImageExecutable", "open_image"]

IMAGE_FORMAT = "bin"


def open_image(artifact: Artifact, device: str | None) -> ImageExecutable:
    """Open an image.

    Raises:
        PackageError: it does not describe itself, or its bytes are not those that were built.
        BackendError: there is no such device, or QEMU is missing.
    """
    artifact.verify()
    here = device_name(artifact.target)
    if device not in (None, here):
        raise BackendError(f"there is no device '{device}'", fix=f"use '{here}', or name none")
    qemu = find_qemu()
    if not is_arm() and qemu is None:
        raise BackendError("QEMU's user-mode emulator for ARM64 is not installed", fix=QEMU_FIX)
    emulator = () if is_arm() else (str(qemu), "-cpu", cpu_of(artifact.target).emulated)
    return ImageExecutable(artifact.payload, emulator, here)


class ImageExecutable:
    """A program in a folder of its own, which goes when it is closed."""

    def __init__(self, payload: bytes, emulator: tuple[str, ...], device: str) -> None:
        self._inputs, self._outputs = _described(payload)
        _check_whole(payload)
        self._folder = tempfile.TemporaryDirectory()
        program = Path(self._folder.name) / "image"
        program.write_bytes(payload)
        program.chmod(0o700)
        self._command = (*emulator, str(program))
        self.device = device
        self.tier = Tier.EMULATED if emulator else Tier.DEVICE

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._outputs

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Outputs by name.

        Raises:
            BackendError: the program failed; carries what it said.
        """
        with tempfile.TemporaryDirectory() as name:
            folder, words = Path(name), list[str]()
            for number, info in enumerate(self._inputs):
                np.save(folder / f"in{number}.npy", np.ascontiguousarray(feeds[info.name], info.dtype))
                words += ["--input", f"{info.name}={folder / f'in{number}.npy'}"]
            for number, info in enumerate(self._outputs):
                words += ["--output", f"{info.name}={folder / f'out{number}.npy'}"]
            done = subprocess.run([*self._command, *words], capture_output=True, text=True, check=False)
            if done.returncode:
                said = " ".join(done.stderr.split())[:300] or f"exit code {done.returncode}"
                raise BackendError(f"the image failed: {said}", fix="build it again")
            return {
                info.name: np.load(folder / f"out{n}.npy", allow_pickle=False) for n, info in enumerate(self._outputs)
            }

    def close(self) -> None:
        """Calling twice is harmless."""
        self._folder.cleanup()


def _check_whole(payload: bytes) -> None:
    """Its segments lie within it, as ELF for 64 bits has them; a program that is cut off dies when it is started.

    Raises:
        PackageError: they do not.
    """
    try:
        table, size, count = (*struct.unpack_from("<Q", payload, 32), *struct.unpack_from("<HH", payload, 54))
        segments = [struct.unpack_from("<Q16xQ", payload, table + size * i + 8) for i in range(count)]
    except struct.error:
        segments = [(len(payload), 1)]
    if any(offset + length > len(payload) for offset, length in segments):
        raise PackageError("the image is cut off", fix="copy it again, or build it again")


def _described(payload: bytes) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    marker = MARKER.encode()
    start = payload.find(marker + b"{")
    try:
        said = json.loads(payload[start + len(marker) : payload.index(b"\0", max(start, 0))])
        inputs, outputs = (tuple(map(_info, said[role])) for role in ("inputs", "outputs"))
    except (ValueError, KeyError, TypeError):
        raise PackageError("the image does not say what its inputs and outputs are", fix="build it again") from None
    return inputs, outputs


def _info(entry: list[Any]) -> TensorInfo:
    name, dtype, shape = entry
    if dtype not in TYPES:
        raise ValueError(f"'{name}' of dtype {dtype}")
    return TensorInfo(str(name), str(dtype), tuple(map(int, shape)))
