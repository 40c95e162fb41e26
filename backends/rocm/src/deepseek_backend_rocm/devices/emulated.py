"""The emulator as a device: real code objects, interpreted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_rocm.devices.base import Call, DeviceError, Recording, emulated_name
from deepseek_backend_rocm.emulator.code import CodeObject, KernelCode, read_code
from deepseek_backend_rocm.emulator.machine import Machine
from deepseek_backend_rocm.emulator.memory import Window
from deepseek_core import Tier

__all__ = ["EmulatedDevice"]


class EmulatedDevice:
    """A GPU of one architecture, with memory of its own.

    Args:
        architecture: that code objects must be for.
        machine: what interprets them; by default a new one.
    """

    tier = Tier.EMULATED

    def __init__(self, architecture: str, machine: Machine | None = None) -> None:
        self.architecture = architecture
        self.name = emulated_name(architecture)
        self.machine = Machine() if machine is None else machine

    def allocate(self, size: int) -> int:
        return self.machine.memory.allocate(size)

    def free(self, address: int) -> None:
        self.machine.memory.free(address)

    def forget(self, address: int, size: int) -> None:
        self.machine.memory.forget(address, size)

    def copy_in(self, address: int, array: NDArray[Any]) -> None:
        self.machine.memory.store(address, np.ascontiguousarray(array).reshape(-1).view(np.uint8))

    def copy_out(self, address: int, size: int) -> NDArray[Any]:
        return self.machine.memory.load(address, size)

    def load(self, code: bytes) -> CodeObject:
        module = read_code(code)
        if module.architecture.name != self.architecture:
            text = f"the code object is for {module.architecture.name}, the device is {self.name}"
            raise DeviceError(text, fix=f"compile for rocm:{self.architecture}")
        return module

    def unload(self, module: Any) -> None:
        pass

    def function(self, module: Any, symbol: str) -> KernelCode:
        kernel: KernelCode = module.kernel(symbol)
        return kernel

    def record(self, calls: Sequence[Call]) -> Recording:
        return _Calls(self.machine, calls)

    def synchronise(self) -> None:
        pass

    def seconds(self, recording: Recording, repeats: int) -> None:
        return None

    def close(self) -> None:
        pass


class _Calls:
    """Calls, run one after the other."""

    def __init__(self, machine: Machine, calls: Sequence[Call]) -> None:
        self._machine = machine
        self._calls = [
            (call, [Window(r.address, r.size, r.writes, r.name) for r in call.ranges] if call.ranges else None)
            for call in calls
        ]

    def run(self) -> None:
        for call, windows in self._calls:
            self._machine.launch(
                call.function, call.grid, call.threads, call.arguments, shared=call.shared, windows=windows
            )

    def close(self) -> None:
        self._calls = []
