"""An opened artifact: its program's launches, recorded on a GPU or on the emulator."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_rocm.container import FORMAT, decode
from deepseek_backend_rocm.devices.base import Call, Device, DeviceError, Range, Recording, emulated_name
from deepseek_backend_rocm.devices.emulated import EmulatedDevice
from deepseek_backend_rocm.devices.hip import open_hip
from deepseek_backend_rocm.devices.migraphx import FORMAT as MIGRAPHX
from deepseek_backend_rocm.devices.migraphx import MigraphxExecutable
from deepseek_backend_rocm.probe import gpus
from deepseek_backend_rocm.program import Image, Launch, Port, Program, Space
from deepseek_backend_rocm.targets import TARGETS
from deepseek_core import Artifact, Executable, Feeds, TensorInfo, Tier
from deepseek_core.errors import BackendError, PackageError

__all__ = ["RocmExecutable", "open_artifact"]


def open_artifact(artifact: Artifact, device: str | None) -> Executable:
    """Open an artifact on an AMD GPU of its target, or on the emulator where there is none.

    Raises:
        PackageError: it is none of ours, damaged, or has no code for the target.
        BackendError: there is no such device, or no emulator.
    """
    target = artifact.target
    if artifact.format == MIGRAPHX and target in TARGETS:
        artifact.verify()
        return MigraphxExecutable(artifact.payload, _gpu(target.device, device))
    if artifact.format != FORMAT or target not in TARGETS:
        found = f"format '{artifact.format}' for {target}"
        raise PackageError(f"the rocm backend does not run an artifact of {found}", fix="compile the model again")
    artifact.verify()
    image = decode(artifact.payload)
    if target.device not in image.programs:
        has = ", ".join(sorted(image.programs)) or "none"
        raise PackageError(
            f"the artifact has no code for {target.device}, but for {has}", fix="compile the model again"
        )
    return RocmExecutable(image, _device(target.device, device))


def _gpu(architecture: str, wanted: str | None) -> str:
    """Name of the GPU that MIGraphX will run on; it chooses none itself."""
    present = [name for name, found in gpus()[0] if found == architecture]
    if not present or wanted not in (None, "hip", present[0]):
        found = f"'{wanted}'" if present else f"{architecture} GPU"
        raise BackendError(f"there is no {found} for MIGraphX", fix="compile without rocm.runtime=migraphx")
    return present[0]


def _device(architecture: str, wanted: str | None) -> Device:
    """The GPU that is there, else the emulator; or the one that is named."""
    emulated = emulated_name(architecture)
    present = [name for name, found in gpus()[0] if found == architecture]
    if wanted not in (None, "hip", emulated, *present):
        known = ", ".join(f"'{name}'" for name in (*present, emulated))
        raise BackendError(f"there is no device '{wanted}'", fix=f"use {known}, or name none")
    if wanted == "hip" or (wanted is None and present) or wanted in present:
        return open_hip(architecture)
    return EmulatedDevice(architecture)


class RocmExecutable:
    """A part, ready to run; several threads take turns.

    Args:
        image: the compiled part.
        device: what runs it, of an architecture that the image has code for; it is closed with the executable.
    """

    def __init__(self, image: Image, device: Device) -> None:
        self._image, self._device = image, device
        self._program: Program = image.programs[device.architecture]
        self._lock = threading.Lock()
        self._modules: dict[int, Any] = {}
        self._allocated: list[int] = []
        self._recording: Recording | None = None
        try:
            self._arena = self._allocate(self._program.arena)
            constants = np.frombuffer(image.constants, np.uint8)
            self._constants = self._allocate(constants.size)
            device.copy_in(self._constants, constants)
            self._recording = device.record([self._call(launch) for launch in self._program.launches])
        except BaseException:
            self.close()
            raise

    @property
    def tier(self) -> Tier:
        return self._device.tier

    @property
    def device(self) -> str:
        return self._device.name

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return tuple(port.info for port in self._image.inputs)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return tuple(port.info for port in self._image.outputs)

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Outputs by name.

        Raises:
            BackendError: the device failed or is lost, a kernel does what it must not, or the executable is closed.
        """
        with self._lock:
            recording, device = self._opened(), self._device
            device.forget(self._arena, self._program.arena)
            for port in self._image.inputs:
                device.copy_in(self._arena + port.offset, np.ascontiguousarray(feeds[port.name]))
            recording.run()
            device.synchronise()
            return {port.name: self._result(port) for port in self._image.outputs}

    def seconds(self, repeats: int = 10) -> float | None:
        """Time of one run on the device's own clock, copies not included; None on the emulator.

        Raises:
            BackendError: the device failed or is lost, or the executable is closed.
        """
        with self._lock:
            return self._device.seconds(self._opened(), repeats)

    def close(self) -> None:
        """Calling twice is harmless; what a lost device cannot give back is gone with it."""
        with self._lock, contextlib.suppress(DeviceError):
            if self._recording is not None:
                self._recording.close()
                self._recording = None
            while self._modules:
                self._device.unload(self._modules.popitem()[1])
            while self._allocated:
                self._device.free(self._allocated.pop())
            self._device.close()

    def _opened(self) -> Recording:
        if self._recording is None:
            raise BackendError("the executable is closed", fix="load the artifact again")
        return self._recording

    def _allocate(self, size: int) -> int:
        address = self._device.allocate(max(size, 1))
        self._allocated.append(address)
        return address

    def _call(self, launch: Launch) -> Call:
        kernel = self._program.kernels[launch.kernel]
        if kernel.code not in self._modules:
            self._modules[kernel.code] = self._device.load(self._image.codes[kernel.code])
        bases: dict[Space, int] = {"arena": self._arena, "constants": self._constants}
        ranges = tuple(
            Range(bases[pointer.space] + pointer.offset, pointer.bytes, pointer.writes, f"the {pointer.space}")
            for pointer in launch.pointers
        )
        function = self._device.function(self._modules[kernel.code], kernel.symbol)
        return Call(function, launch.grid, kernel.threads, kernel.shared, launch.bound(bases), ranges, launch.unit)

    def _result(self, port: Port) -> NDArray[Any]:
        data = self._device.copy_out(self._arena + port.offset, port.bytes)
        return data.view(port.dtype).reshape(port.shape)
