"""The emulated NPU: executes a command stream over its memory, and refuses what the hardware gives no result for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.container import Container
from deepseek_backend_npu.devices import Device
from deepseek_backend_npu.emulator.hazards import BUFFER_RAM, Access, Ordering
from deepseek_backend_npu.emulator.isa import OPERATIONS, Opcode
from deepseek_backend_npu.emulator.memory import Memory
from deepseek_backend_npu.emulator.operation import Operation
from deepseek_backend_npu.emulator.shram import Tables
from deepseek_backend_npu.emulator.stream import HazardError, Step, decode
from deepseek_backend_npu.payload import DriverPayload
from deepseek_backend_npu.tosa.schema import NUMPY
from deepseek_core.errors import PackageError

__all__ = ["Machine"]

Observer = Callable[[Operation, Memory], None]
_CONSTANTS, _SCRATCH, _FAST = 0, 1, 2
_OUTSTANDING_OPERATIONS = 2
_OUTSTANDING_TRANSFERS = {"ethos-u55": 1, "ethos-u65": 2}
_INTERNAL = 1 << 8
_STRIDED = 3 << 9


class Machine:
    """One program on one variant; each run has memory of its own."""

    def __init__(self, device: Device, payload: DriverPayload, container: Container) -> None:
        if (payload.product, payload.macs) != (device.product, device.total_macs):
            raise PackageError("the driver payload is for other hardware", fix="compile the model again")
        self._device = device
        self._container = container
        self._constants = np.frombuffer(container.constants, np.uint8)
        self._steps = decode(payload.stream)
        self._operations = {step.position: Operation(device, step) for step in self._steps if step.opcode in OPERATIONS}

    def run(self, arrays: Sequence[NDArray[Any]], observe: Observer | None = None) -> list[NDArray[Any]]:
        """Outputs for inputs, both in the order of the program's.

        Args:
            arrays: inputs.
            observe: called before each operation, with the memory that it will find.

        Raises:
            HazardError: the program breaks a rule of the hardware.
        """
        container = self._container
        memory = Memory({_SCRATCH: container.scratch, _FAST: container.scratch_fast}, {_CONSTANTS: self._constants})
        for placed, array in zip(container.placed_feeds, arrays, strict=True):
            memory.store(placed.region, placed.address, np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        self._execute(memory, observe)
        return [
            memory.load(placed.region, placed.address, _size(border.shape, NUMPY[border.dtype]))
            .view(NUMPY[border.dtype])
            .reshape(border.shape)
            .copy()
            for placed, border in zip(container.placed_results, container.results, strict=True)
        ]

    def _execute(self, memory: Memory, observe: Observer | None) -> None:
        tables = Tables(self._device)
        ordering = Ordering(_OUTSTANDING_TRANSFERS[self._device.family], _OUTSTANDING_OPERATIONS)
        for step in self._steps:
            if step.opcode in OPERATIONS:
                operation = self._operations[step.position]
                if observe is not None:
                    observe(operation, memory)
                operation.run(memory, tables, ordering)
            elif step.opcode is Opcode.DMA_START:
                _transfer(step, memory, tables, ordering)
            elif step.opcode is Opcode.DMA_WAIT:
                ordering.wait_transfers(step.parameter)
            elif step.opcode is Opcode.KERNEL_WAIT:
                ordering.wait_operations(step.parameter)


def _transfer(step: Step, memory: Memory, tables: Tables, ordering: Ordering) -> None:
    """A DMA transfer; its bytes are there at once, and `ordering` sees to it that nobody looks too early."""
    registers = step.registers
    source, target = registers["DMA0_SRC_REGION"], registers["DMA0_DST_REGION"]
    if (source | target) & _STRIDED or source & _INTERNAL:
        raise HazardError("DMA with strides, or out of the buffer RAM, is not emulated")
    start, end, size = registers.address("DMA0_SRC"), registers.address("DMA0_DST"), registers.address("DMA0_LEN")
    inside = bool(target & _INTERNAL)
    region = BUFFER_RAM if inside else target & 7
    ordering.transfer(
        (Access(source & 7, start, start + size, writes=False), Access(region, end, end + size, writes=True))
    )
    if inside:
        tables.store(end, memory.load(source & 7, start, size))
    else:
        memory.copy((source & 7, start), (target & 7, end), size)


def _size(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
