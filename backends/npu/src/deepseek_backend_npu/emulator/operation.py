"""One operation on feature maps: what it reads and writes, in which blocks, and what it computes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.devices import Device
from deepseek_backend_npu.emulator.convolution import Convolution, padded, upscaled, weight_ranges
from deepseek_backend_npu.emulator.elementwise import UNARY, combine
from deepseek_backend_npu.emulator.feature_map import FeatureMap
from deepseek_backend_npu.emulator.hazards import BUFFER_RAM, Access, BlockTrace
from deepseek_backend_npu.emulator.isa import Elementwise, Opcode, Pooling
from deepseek_backend_npu.emulator.kernel import Kernel
from deepseek_backend_npu.emulator.memory import Extent, Memory
from deepseek_backend_npu.emulator.output import activate, uses_table
from deepseek_backend_npu.emulator.pooling import pool
from deepseek_backend_npu.emulator.shram import Tables, check_layout
from deepseek_backend_npu.emulator.state import State
from deepseek_backend_npu.emulator.stream import HazardError, Step, known

__all__ = ["Operation"]

_SCALAR = 1 << 7
_SUBKERNEL = 8
_ACCUMULATOR_BITS = {0: 32, 1: 40, 2: 16}
_TABLE_SIZES = {1: 256, 2: 2048, 4: 1024}
_MOST_BLOCKS = 3


class Operation:
    """Prepared once from its registers, run often."""

    def __init__(self, device: Device, step: Step) -> None:
        self._device = device
        self.step = step
        registers = step.registers
        self._elementwise = step.opcode is Opcode.ELEMENTWISE
        self._shape = (
            registers["OFM_HEIGHT_M1"] + 1,
            registers["OFM_WIDTH_M1"] + 1,
            registers["OFM_DEPTH_M1"] + 1,
        )
        self._output = FeatureMap.of(registers, "OFM", self._shape)
        self._kernel = None if self._elementwise else Kernel.of(registers)
        self.inputs = (FeatureMap.of(registers, "IFM", self._input_shape()), *self._second())
        self._check_shapes()
        self._table = uses_table(registers)
        self.blocks = registers["BLOCKDEP"]
        if self.blocks > _MOST_BLOCKS:
            raise HazardError(f"BLOCKDEP {self.blocks}; {_MOST_BLOCKS} is the most")
        self._trace = BlockTrace(self.inputs, self._input_job(), self._output, self._output_block())
        self._accesses = tuple(self._all_accesses())
        self._check_buffers()

    def run(self, state: State) -> None:
        """Read, compute, write."""
        memory, tables = state.memory, state.tables
        state.ordering.operation(self._accesses, self._trace, self.blocks, memory)
        registers = self.step.registers
        values = self._compute(memory)
        if values.shape != self._shape:
            raise HazardError(f"computes {values.shape} where the output has {self._shape}")
        self._output.write(memory, activate(registers, values, self._output, tables))
        if self._table is None:
            tables.overwritten()

    def _compute(self, memory: Memory) -> NDArray[np.int64]:
        source, registers = self.inputs[0], self.step.registers
        x = source.read(memory).astype(np.int64)
        if self._kernel is None:
            return self._combine(x - source.zero, memory)
        size = (self._seen(0), self._seen(1))
        if self.step.opcode is Opcode.POOL:
            return pool(
                registers, known(Pooling, self.step.parameter), upscaled(x, self._kernel, size), source, self._shape
            )
        image = padded(upscaled(x - source.zero, self._kernel, size), self._kernel)
        return self._convolution(self._kernel).run(memory, image)

    def _convolution(self, kernel: Kernel) -> Convolution:
        depthwise, wide = self.step.opcode is Opcode.DEPTHWISE, self.inputs[0].dtype.itemsize == 2
        return Convolution(self._device, self.step.registers, kernel, self._shape, depthwise, wide)

    def _combine(self, a: NDArray[np.int64], memory: Memory) -> NDArray[np.int64]:
        registers, mode = self.step.registers, known(Elementwise, self.step.parameter)
        itemsize = self.inputs[0].dtype.itemsize
        if mode in UNARY:
            return combine(registers, mode, a, None, itemsize)
        if len(self.inputs) == 2:
            second = self.inputs[1]
            b = second.read(memory).astype(np.int64) - second.zero
        else:
            scalar = registers.signed("IFM2_SCALAR") if registers["IFM2_PRECISION"] & 1 else registers["IFM2_SCALAR"]
            b = np.array(scalar - registers.signed("IFM2_ZERO_POINT"), np.int64)
        return combine(registers, mode, a, b, itemsize)

    # What tells whether two operations are one

    def constants(self, memory: Memory) -> list[NDArray[Any]]:
        """Weights, biases, scales and shifts as they stand in memory; none for what is no convolution."""
        if self._kernel is None or self.step.opcode not in (Opcode.CONV, Opcode.DEPTHWISE):
            return []
        convolution, found = self._convolution(self._kernel), list[NDArray[Any]]()
        for core in range(convolution.cores):
            weights, scales = convolution.constants(memory, self.inputs[0].shape[2], core)
            found += [weights, scales.bias, scales.scale, scales.shift]
        return found

    @property
    def reach(self) -> tuple[tuple[Extent, ...], ...]:
        """Where the elements of the inputs and of the output are."""
        return tuple(feature_map.extents for feature_map in (*self.inputs, self._output))

    @property
    def window(self) -> Kernel | None:
        """The window, as far as it matters."""
        return None if self._kernel is None else self._kernel.over(self._shape)

    def writes_to(self, other: Operation) -> bool:
        """Whether its output shares bytes with what another one reads."""
        written = next(access for access in self._accesses if access.writes and access.region != BUFFER_RAM)
        return any(written.conflicts(access) for access in other._accesses if not access.writes)

    # What it reads

    def _check_shapes(self) -> None:
        """Sizes are derived from the output's, but for the input's depth."""
        shape = self.inputs[0].shape
        if min(shape) < 1:
            raise HazardError(f"reads an input of {shape}")
        wanted = 1 if self._pooling() is Pooling.REDUCE_SUM else shape[2]
        if self.step.opcode is not Opcode.CONV and self._shape[2] != wanted:
            raise HazardError(f"reads {shape[2]} channels and writes {self._shape[2]}")
        if self._kernel is not None and (self._seen(0) < 1 or self._seen(1) < 1):
            raise HazardError("a window without an input")

    def _input_shape(self) -> tuple[int, int, int]:
        depth = self.step.registers["IFM_DEPTH_M1"] + 1
        if self._kernel is None:
            return self._shape[0], self._shape[1], depth
        return self._kernel.input_size(0, self._shape[0]), self._kernel.input_size(1, self._shape[1]), depth

    def _seen(self, axis: int) -> int:
        """Rows or columns of the enlarged input inside its pads."""
        assert self._kernel is not None
        pads = self._kernel.pads[axis] + self._kernel.pads[axis + 2]
        return (self._shape[axis] - 1) * self._kernel.stride[axis] + self._kernel.span(axis) - pads

    def _second(self) -> tuple[FeatureMap, ...]:
        registers = self.step.registers
        if not self._elementwise or known(Elementwise, self.step.parameter) in UNARY:
            return ()
        broadcast = registers["IFM2_BROADCAST"]
        if broadcast & _SCALAR:
            return ()
        height, width, depth = (1 if broadcast >> axis & 1 else self._shape[axis] for axis in range(3))
        return (FeatureMap.of(registers, "IFM2", (height, width, depth)),)

    def _all_accesses(self) -> list[Access]:
        found = [Access(source.region, *source.hull, writes=False) for source in self.inputs]
        found.append(Access(self._output.region, *self._output.hull, writes=True))
        if self.step.opcode in (Opcode.CONV, Opcode.DEPTHWISE):
            ranges = weight_ranges(self.step.registers, self._device.cores)
            found += [Access(region, start, start + size, writes=False) for region, start, size in ranges]
        if self._table is not None:
            start = Tables(self._device).address(self._table)
            size = _TABLE_SIZES[self._output.dtype.itemsize]
            found.append(Access(BUFFER_RAM, start, start + size, writes=False))
        if not self._device.keeps_tables:
            found.append(Access(BUFFER_RAM, 0, self._device.banks * 1024, writes=True))
        return found

    # Its blocks

    def _output_block(self) -> tuple[int, int, int]:
        registers = self.step.registers
        return (
            registers["OFM_BLK_HEIGHT_M1"] + 1,
            registers["OFM_BLK_WIDTH_M1"] + 1,
            registers["OFM_BLK_DEPTH_M1"] + 1,
        )

    def _input_job(self) -> tuple[int, int, int]:
        height, width, _ = block = self._output_block()
        depth = self._input_depth(block[2])
        if self._kernel is None:
            return height, width, depth
        kernel = self._kernel
        return (
            (height - 1) * kernel.stride[0] + kernel.span(0),
            (width - 1) * kernel.stride[1] + kernel.span(1),
            depth,
        )

    def _input_depth(self, output_depth: int) -> int:
        """Channels of an input block: as many as the output's where each sees only its own."""
        if self.step.opcode is not Opcode.CONV and self._pooling() != Pooling.REDUCE_SUM:
            return output_depth
        depth = self.inputs[0].shape[2]
        if self.inputs[0].dtype.itemsize == 2:
            return -(-min(depth, 16) // 4) * 4
        most = 16 if self._kernel is not None and self._kernel.part_first and self.step.opcode is Opcode.CONV else 32
        unit = self._device.input_block
        return -(-min(depth, most) // unit) * unit

    def _second_is_buffered(self) -> bool:
        """A second input of one element is read like a scalar, but for 32 bits."""
        if len(self.inputs) < 2:
            return False
        return self.inputs[1].shape != (1, 1, 1) or self.inputs[0].dtype.itemsize > 2

    def _pooling(self) -> Pooling | None:
        return known(Pooling, self.step.parameter) if self.step.opcode is Opcode.POOL else None

    def _check_buffers(self) -> None:
        registers, block = self.step.registers, self._output_block()
        if self._kernel is None:
            rows, columns = block[:2]
        else:
            rows, columns = (self._kernel.block(axis, block[axis], _SUBKERNEL) for axis in (0, 1))
        check_layout(
            self._device,
            input_block=(rows, columns, self._input_depth(block[2])),
            output_block=block,
            itemsize=self.inputs[0].dtype.itemsize,
            accumulator_bits=_ACCUMULATOR_BITS[registers["ACC_FORMAT"] & 3],
            registers=(
                registers["IFM_IB_END"],
                registers["AB_START"],
                registers["IFM2_IB_START"] if self._second_is_buffered() else None,
            ),
            elementwise=self._elementwise,
            uses_table=self._table is not None,
        )
