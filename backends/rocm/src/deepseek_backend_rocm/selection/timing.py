"""Launches timed on the device itself, where one is there."""

from __future__ import annotations

from contextlib import ExitStack
from math import inf

import numpy as np

from deepseek_backend_rocm.building import Built
from deepseek_backend_rocm.devices.base import Call, Device
from deepseek_backend_rocm.kernels.signatures import SIGNATURES
from deepseek_backend_rocm.plan.steps import Step
from deepseek_backend_rocm.program import Launch, Pointer
from deepseek_backend_rocm.selection.candidates import grid_of

__all__ = ["DeviceTimer", "present_device"]

_REPEATS = 20


class DeviceTimer:
    """Seconds of a step on a device, with tensors of its own in which every byte is 0."""

    def __init__(self, device: Device) -> None:
        self._device = device

    @property
    def name(self) -> str:
        return self._device.name

    def __call__(self, step: Step, built: Built) -> float:
        """Seconds of one launch.

        Raises:
            DeviceError: the device refuses, or is lost.
        """
        with ExitStack() as stack:
            call = self._call(step, built, stack)
            recording = self._device.record([call])
            stack.callback(recording.close)
            recording.run()
            self._device.synchronise()
            seconds = self._device.seconds(recording, _REPEATS)
        return inf if seconds is None else seconds

    def close(self) -> None:
        """Give the device back."""
        self._device.close()

    def _call(self, step: Step, built: Built, stack: ExitStack) -> Call:
        device, signature = self._device, SIGNATURES[step.kernel]
        sizes = {piece: piece.bytes for piece in step.memory.values()}
        places = {piece: self._zeros(size, stack) for piece, size in sizes.items()}
        module = device.load(built.code)
        stack.callback(device.unload, module)
        pointers = tuple(
            Pointer(signature.position(name), "arena", places[step.memory[name]], sizes[step.memory[name]], True)
            for name in signature.pointers
        )
        grid = grid_of(step, built.variant)
        launch = Launch(0, grid, signature.pack(step.values), pointers)
        arguments = launch.bound({"arena": 0})
        return Call(device.function(module, built.symbol), grid, built.threads, built.shared, arguments, unit=step.unit)

    def _zeros(self, size: int, stack: ExitStack) -> int:
        address = self._device.allocate(max(size, 1))
        stack.callback(self._device.free, address)
        self._device.copy_in(address, np.zeros(max(size, 1), np.uint8))
        return address


def present_device(architecture: str) -> DeviceTimer | None:
    """A timer on a GPU of this architecture; None where there is none."""
    from deepseek_backend_rocm.devices.hip import open_hip
    from deepseek_backend_rocm.probe import gpus

    if all(found != architecture for _, found in gpus()[0]):
        return None
    return DeviceTimer(open_hip(architecture))
