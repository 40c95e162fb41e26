"""One operation of Ethos-U85: alone, or in a chain whose feature maps between never reach memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.devices import Device
from deepseek_backend_npu.emulator.convolution import dense, depthwise, padded, upscaled
from deepseek_backend_npu.emulator.feature_map import FeatureMap
from deepseek_backend_npu.emulator.hazards import BUFFER_RAM, Access, BlockTrace
from deepseek_backend_npu.emulator.isa import Opcode
from deepseek_backend_npu.emulator.kernel import Kernel
from deepseek_backend_npu.emulator.memory import Extent, Memory
from deepseek_backend_npu.emulator.scaling import rescale, wrap
from deepseek_backend_npu.emulator.state import State
from deepseek_backend_npu.emulator.stream import HazardError, Step, known
from deepseek_backend_npu.emulator.u85 import arithmetic
from deepseek_backend_npu.emulator.u85.isa import (
    MICROBLOCKS,
    ROUNDS,
    TRANSPOSES,
    Elementwise,
    Pooling,
    Source,
    Storage,
)
from deepseek_backend_npu.emulator.u85.weights import SCALE_BYTES, Order, decode, scales_of
from deepseek_backend_npu.emulator.weights import Scales

__all__ = ["ChainedOperation"]

Integers = NDArray[np.int64]
Shape = tuple[int, int, int]
_SCALAR = 8
_MOST_BLOCKS = 7
_WIDE_BITS, _BITS = 48, 32


class ChainedOperation:
    """Prepared once from its registers, run often."""

    def __init__(self, device: Device, step: Step) -> None:
        self._device = device
        self.step = step
        registers = step.registers
        self._kernel = None if step.opcode is Opcode.ELEMENTWISE else Kernel.of(registers)
        self._shape: Shape = (
            registers["OFM_HEIGHT_M1"] + 1,
            registers["OFM_WIDTH_M1"] + 1,
            registers["OFM_DEPTH_M1"] + 1,
        )
        self._check_modes()
        self._output = self._stored_output()
        self._sources = self._inputs()
        self.blocks = registers["BLOCKDEP"]
        if self.blocks > _MOST_BLOCKS:
            raise HazardError(f"BLOCKDEP {self.blocks}; {_MOST_BLOCKS} is the most")
        self._accesses = tuple(self._all_accesses())
        self._trace = self._blocks_of()

    def run(self, state: State) -> None:
        """Read, compute, write."""
        state.ordering.operation(self._accesses, self._trace, self.blocks, state.memory)
        registers = self.step.registers
        values = self._compute(state)
        if values.shape != self._shape:
            raise HazardError(f"computes {values.shape} where the output has {self._shape}")
        results = arithmetic.activate(registers, values, self._dtype("OFM"), state.tables)
        if self._output is None:
            state.chains[registers["OFM_REGION"]] = results
        else:
            self._output.write(state.memory, results.transpose(TRANSPOSES[registers["OFM_PRECISION"] >> 11 & 7]))

    # What tells whether two operations are one

    @property
    def inputs(self) -> tuple[FeatureMap, ...]:
        """Inputs that are in memory."""
        return tuple(self._sources.values())

    def constants(self, memory: Memory) -> list[NDArray[Any]]:
        """Weights, biases, scales and shifts as they stand in memory."""
        found: list[NDArray[Any]] = [self._weights(memory)] if self._has_weights() else []
        if not self._has_one_scale():
            scales = self._scales(memory)
            found += [scales.bias, scales.scale, scales.shift]
        return found

    @property
    def reach(self) -> tuple[tuple[Extent, ...], ...]:
        """Where the elements of the inputs and of the output are, as far as they are in memory."""
        output = () if self._output is None else (self._output,)
        return tuple(feature_map.extents for feature_map in (*self.inputs, *output))

    @property
    def window(self) -> Kernel | None:
        """The window, as far as it matters."""
        return None if self._kernel is None else self._kernel.over(self._shape)

    def writes_to(self, other: ChainedOperation) -> bool:
        """Whether its output shares bytes with what another one reads; in a chain, the one before may: then too."""
        written = [access for access in self._accesses if access.writes]
        return not written or any(one.conflicts(access) for one in written for access in other._accesses)

    # What its registers say

    def _check_modes(self) -> None:
        registers = self.step.registers
        accumulators = registers["ACC_FORMAT"]
        known(Source, accumulators >> 4 & 3)
        if accumulators >> 6 & 1:
            raise HazardError("accumulators that are kept for another operation are not emulated")
        if registers["OFM_PRECISION"] >> 9 & 3:
            raise HazardError("reversed outputs are not emulated")
        if registers["OFM_PRECISION"] >> 11 & 7 not in TRANSPOSES:
            raise HazardError(f"there is no transposition {registers['OFM_PRECISION'] >> 11 & 7}")

    def _storage(self, name: str) -> Storage:
        return known(Storage, self.step.registers[f"{name}_PRECISION"] >> 14)

    def _dtype(self, name: str) -> np.dtype[Any]:
        word = self.step.registers[f"{name}_PRECISION"]
        size = 1 << (word >> (1 if name == "OFM" else 2) & 3)
        return np.dtype(f"{'i' if word & 1 else 'u'}{size}")

    def _stored_output(self) -> FeatureMap | None:
        if self._storage("OFM") is Storage.CHAINED:
            return None
        axes = TRANSPOSES[self.step.registers["OFM_PRECISION"] >> 11 & 7]
        shape = (self._shape[axes[0]], self._shape[axes[1]], self._shape[axes[2]])
        return FeatureMap.of(self.step.registers, "OFM", shape)

    def _inputs(self) -> dict[str, FeatureMap]:
        """Inputs that are in memory."""
        wanted = {"IFM": self._input_shape("IFM")}
        if self._has_second():
            wanted["IFM2"] = self._input_shape("IFM2")
        if self._is_restored():
            wanted = {"IFM2": self._shape}
        return {
            name: FeatureMap.of(self.step.registers, name, shape)
            for name, shape in wanted.items()
            if self._storage(name) is Storage.TILES
        }

    def _has_second(self) -> bool:
        if self.step.opcode is Opcode.ELEMENTWISE:
            return known(Elementwise, self.step.parameter) not in arithmetic.UNARY
        return self._has_dynamic_weights()

    def _pooling(self) -> Pooling:
        return known(Pooling, self.step.parameter)

    def _reduces(self) -> bool:
        return self.step.opcode is Opcode.POOL and self._pooling() is Pooling.REDUCE_SUM

    def _has_one_scale(self) -> bool:
        return bool(self.step.registers["OFM_PRECISION"] >> 8 & 1)

    def _accumulates_wide(self) -> bool:
        return bool(self.step.registers["ACC_FORMAT"] & 3)

    def _has_dynamic_weights(self) -> bool:
        return self.step.opcode is Opcode.CONV and bool(self.step.parameter & 1)

    def _is_restored(self) -> bool:
        """Whether the operation only loads accumulators from its second input."""
        restored = self.step.registers["ACC_FORMAT"] >> 4 & 3 == Source.IFM2
        pools = self.step.opcode is Opcode.POOL and self._pooling() is Pooling.NONE
        if restored != pools:
            raise HazardError("accumulators that start from a second input are emulated without a window only")
        return restored

    def _input_shape(self, name: str) -> Shape:
        registers, (height, width, depth) = self.step.registers, self._shape
        if self._kernel is None:
            mode = registers[f"{name}_BROADCAST"] & 7
            return 1 if mode & 1 else height, 1 if mode & 2 else width, 1 if mode & 4 else depth
        inputs = registers["IFM_DEPTH_M1"] + 1
        if name == "IFM2":
            return 1, depth, inputs
        found = self._kernel.input_size(0, height), self._kernel.input_size(1, width), inputs
        if min(found) < 1 or min(self._seen(self._kernel, axis) for axis in (0, 1)) < 1:
            raise HazardError(f"reads an input of {found}")
        if self.step.opcode is not Opcode.CONV and not self._is_restored():
            wanted = 1 if self._reduces() else inputs
            if depth != wanted:
                raise HazardError(f"reads {inputs} channels and writes {depth}")
        return found

    # What it reads and writes

    def _all_accesses(self) -> list[Access]:
        found = [Access(source.region, *source.hull, writes=False) for source in self._sources.values()]
        if self._output is not None:
            found.append(Access(self._output.region, *self._output.hull, writes=True))
        registers = self.step.registers
        for base, length in self._weight_ranges():
            found.append(Access(registers["WEIGHT_REGION"] & 7, base, base + length, writes=False))
        if not self._has_one_scale():
            base, size = registers.address("SCALE_BASE"), registers["SCALE_LENGTH"]
            found.append(Access(registers["SCALE_REGION"] & 7, base, base + size, writes=False))
        _, address, size = arithmetic.lookup(registers)
        if size:
            found.append(Access(BUFFER_RAM, address, address + size, writes=False))
        return found

    def _has_weights(self) -> bool:
        return self.step.opcode in (Opcode.CONV, Opcode.DEPTHWISE) and not self._has_dynamic_weights()

    def _weight_ranges(self) -> list[tuple[int, int]]:
        """Address and bytes of the weights of each stream that has some."""
        if not self._has_weights():
            return []
        registers, found = self.step.registers, []
        for stream in ("", "1", "2", "3"):
            name = f"WEIGHT{stream}_LENGTH"
            if name in registers and (size := registers[name]):
                found.append((registers.address(f"WEIGHT{stream}_BASE"), size))
        return found

    def _blocks_of(self) -> BlockTrace:
        registers = self.step.registers
        block = (
            registers["OFM_BLK_HEIGHT_M1"] + 1,
            registers["OFM_BLK_WIDTH_M1"] + 1,
            registers["OFM_BLK_DEPTH_M1"] + 1,
        )
        job = block
        if self._kernel is not None:
            stride, kernel = self._kernel.stride, self._kernel
            depth = self._order(1).input_block if self._has_weights() else block[2]
            job = (
                (block[0] - 1) * stride[0] + kernel.span(0),
                (block[1] - 1) * stride[1] + kernel.span(1),
                depth,
            )
        straight = registers["OFM_PRECISION"] >> 11 & 7 == 0
        output_job = block if straight or self._output is None else self._output.shape
        return BlockTrace(self.inputs, job, self._output, output_job)

    # What it computes

    def _compute(self, state: State) -> Integers:
        registers, memory = self.step.registers, state.memory
        if self._is_restored():
            return self._finish(memory, self._read("IFM2", state))
        x = self._read("IFM", state)
        if self._kernel is None:
            mode = known(Elementwise, self.step.parameter)
            return arithmetic.combine(registers, mode, x, self._read("IFM2", state) if self._has_second() else x)
        kernel = self._kernel
        seen = upscaled(x, kernel, (self._seen(kernel, 0), self._seen(kernel, 1)))
        if self.step.opcode is Opcode.POOL:
            return self._finish(memory, arithmetic.pool(registers, self._pooling(), seen, kernel, self._shape))
        image = padded(seen, kernel)
        if self._has_dynamic_weights():
            weights = self._read("IFM2", state).reshape(self._shape[2], 1, 1, -1).astype(np.float32)
        else:
            weights = self._weights(memory)
        sums = (depthwise if self.step.opcode is Opcode.DEPTHWISE else dense)(image, weights, kernel, self._shape)
        return self._finish(memory, wrap(sums, _WIDE_BITS if self._accumulates_wide() else _BITS))

    def _finish(self, memory: Memory, sums: Integers) -> Integers:
        """Sums with bias and scale: one for all, or one for each channel."""
        registers = self.step.registers
        if self._has_one_scale():
            return arithmetic.scaled(registers, sums)
        scales, rounding = self._scales(memory), ROUNDS[arithmetic.rounding(registers, "OFM_SCALE")]
        return rescale(sums + scales.bias, scales.scale, scales.shift, rounding)

    def _read(self, name: str, state: State) -> Integers:
        """An input without its zero point."""
        registers = self.step.registers
        zero = registers.signed(f"{name}_ZERO_POINT")
        storage = self._storage(name)
        if storage is Storage.CHAINED:
            if registers[f"{name}_REGION"] not in state.chains:
                raise HazardError("reads a chained feature map that no operation has made")
            return np.asarray(state.chains[registers[f"{name}_REGION"]].astype(np.int64) - zero)
        if storage is Storage.NONE:
            return np.array(_signed(registers["OP_SCALAR"]) - zero, np.int64).reshape(1, 1, 1)
        return self._sources[name].read(state.memory).astype(np.int64) - zero

    def _seen(self, kernel: Kernel, axis: int) -> int:
        """Rows or columns of the enlarged input inside its pads."""
        return (
            (self._shape[axis] - 1) * kernel.stride[axis]
            + kernel.span(axis)
            - kernel.pads[axis]
            - kernel.pads[axis + 2]
        )

    def _order(self, inputs: int) -> Order:
        registers, kernel = self.step.registers, self._kernel
        assert kernel is not None
        height, width = MICROBLOCKS[registers["ACC_FORMAT"] >> 8 & 7]
        is_depthwise = self.step.opcode is Opcode.DEPTHWISE
        return Order(
            macs=self._device.macs,
            outputs=self._shape[2],
            inputs=inputs,
            kernel=kernel.size,
            stride=kernel.stride,
            dilation=kernel.dilation,
            block=registers["OFM_BLK_DEPTH_M1"] + 1,
            unit=self._device.macs // (8 * height * width),
            wide=self._dtype("IFM").itemsize == 2,
            depthwise=is_depthwise,
            part_first=kernel.part_first and not is_depthwise,
            sparse=bool(registers["WEIGHT_FORMAT"] >> 4 & 1),
            fast=bool(registers["WEIGHT_FORMAT"] & 1),
        )

    def _weights(self, memory: Memory) -> NDArray[np.float32]:
        registers = self.step.registers
        region = registers["WEIGHT_REGION"] & 7
        data = [memory.load(region, base, size).tobytes() for base, size in self._weight_ranges()]
        inputs = 1 if self.step.opcode is Opcode.DEPTHWISE else registers["IFM_DEPTH_M1"] + 1
        return decode(data, self._order(inputs))

    def _scales(self, memory: Memory) -> Scales:
        registers, channels = self.step.registers, self._shape[2]
        region, base = registers["SCALE_REGION"] & 7, registers.address("SCALE_BASE")
        records = memory.load(region, base, channels * SCALE_BYTES)
        return scales_of(records, channels, wide=self._accumulates_wide())


def _signed(word: int) -> int:
    return word - (1 << 32) if word & 1 << 31 else word
