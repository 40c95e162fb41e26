"""The emulated NPU: executes a command stream over its memory, and refuses what the hardware gives no result for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.container import Container
from deepseek_backend_npu.devices import Device
from deepseek_backend_npu.emulator.hazards import BUFFER_RAM, Access, Ordering
from deepseek_backend_npu.emulator.isa import OPERATIONS, U55, Opcode
from deepseek_backend_npu.emulator.memory import Memory
from deepseek_backend_npu.emulator.operation import Operation
from deepseek_backend_npu.emulator.shram import Tables
from deepseek_backend_npu.emulator.state import State
from deepseek_backend_npu.emulator.stream import HazardError, Step, decode
from deepseek_backend_npu.emulator.u85 import U85, ChainedOperation
from deepseek_backend_npu.payload import DriverPayload
from deepseek_backend_npu.tosa.schema import NUMPY
from deepseek_core.errors import PackageError

__all__ = ["AnyOperation", "Machine", "Observer", "program"]

AnyOperation = Operation | ChainedOperation
Observer = Callable[[AnyOperation, Memory], None]
_CONSTANTS, _SCRATCH, _FAST = 0, 1, 2
_OUTSTANDING_OPERATIONS = 2
_OUTSTANDING_TRANSFERS = {"ethos-u55": 1, "ethos-u65": 2, "ethos-u85": 4}
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
        self._steps, operations = program(device, payload)
        self._operations = {operation.step.position: operation for operation in operations}

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
        ordering = Ordering(_OUTSTANDING_TRANSFERS[self._device.family], _OUTSTANDING_OPERATIONS)
        self._execute(State(memory, Tables(self._device), ordering), observe)
        return [
            memory.load(placed.region, placed.address, _size(border.shape, NUMPY[border.dtype]))
            .view(NUMPY[border.dtype])
            .reshape(border.shape)
            .copy()
            for placed, border in zip(container.placed_results, container.results, strict=True)
        ]

    def _execute(self, state: State, observe: Observer | None) -> None:
        for step in self._steps:
            if step.opcode in OPERATIONS:
                operation = self._operations[step.position]
                if observe is not None:
                    observe(operation, state.memory)
                operation.run(state)
            elif step.opcode is Opcode.DMA_START:
                _transfer(step, state)
            elif step.opcode is Opcode.DMA_WAIT:
                state.ordering.wait_transfers(step.parameter)
            elif step.opcode is Opcode.KERNEL_WAIT:
                state.ordering.wait_operations(step.parameter)


def program(device: Device, payload: DriverPayload) -> tuple[tuple[Step, ...], list[AnyOperation]]:
    """The steps of a command stream, and those of them that are operations.

    Raises:
        HazardError: a command or a register that the hardware does not have.
    """
    chained = device.family == "ethos-u85"
    steps = decode(payload.stream, U85 if chained else U55)
    kind: Callable[[Device, Step], AnyOperation] = ChainedOperation if chained else Operation
    return steps, [kind(device, step) for step in steps if step.opcode in OPERATIONS]


def _transfer(step: Step, state: State) -> None:
    """A DMA transfer; its bytes are there at once, and the ordering sees to it that nobody looks too early."""
    registers = step.registers
    source, target = registers["DMA0_SRC_REGION"], registers["DMA0_DST_REGION"]
    if (source | target) & _STRIDED or source & _INTERNAL:
        raise HazardError("DMA with strides, or out of the buffer RAM, is not emulated")
    start, end, size = registers.address("DMA0_SRC"), registers.address("DMA0_DST"), registers.address("DMA0_LEN")
    inside = bool(target & _INTERNAL)
    region = BUFFER_RAM if inside else target & 7
    state.ordering.transfer(
        (Access(source & 7, start, start + size, writes=False), Access(region, end, end + size, writes=True))
    )
    if inside:
        state.tables.store(end, state.memory.load(source & 7, start, size))
    else:
        state.memory.copy((source & 7, start), (target & 7, end), size)


def _size(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
