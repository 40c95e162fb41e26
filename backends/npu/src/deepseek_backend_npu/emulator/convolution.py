"""Convolutions: exact sums of products, a bias of 40 bits, one scale a channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.devices import Device
from deepseek_backend_npu.emulator.isa import Round, Upscale
from deepseek_backend_npu.emulator.kernel import Kernel
from deepseek_backend_npu.emulator.memory import Memory
from deepseek_backend_npu.emulator.scaling import rescale, wrap
from deepseek_backend_npu.emulator.stream import Registers, known
from deepseek_backend_npu.emulator.weights import Order, Scales, decode, scales_of

__all__ = ["Convolution", "dense", "depthwise", "padded", "upscaled", "weight_ranges"]

Integers = NDArray[np.int64]
_EXACT_FLOAT32 = 1 << 24
_LARGEST_WEIGHT = 255
_ACCUMULATOR_BITS = {0: 32, 1: 40}
_SCALE_BYTES = 10


def upscaled(x: Integers, kernel: Kernel, size: tuple[int, int]) -> Integers:
    """The input as the window sees it, cut to `size`: doubled by repeating, or by zeros in between."""
    if kernel.upscale is Upscale.NONE:
        return x
    if kernel.upscale is Upscale.NEAREST:
        large = x.repeat(2, axis=0).repeat(2, axis=1)
    else:
        large = np.zeros((x.shape[0] * 2, x.shape[1] * 2, x.shape[2]), x.dtype)
        large[::2, ::2] = x
    return large[: size[0], : size[1]]


def padded(x: Integers, kernel: Kernel, value: int = 0) -> Integers:
    """The input with its pads."""
    top, left, bottom, right = kernel.pads
    if not any(kernel.pads):
        return x
    return np.pad(x, ((top, bottom), (left, right), (0, 0)), constant_values=value)


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution's registers, understood.

    Attributes:
        device: with its cores and smallest blocks.
        registers: of the operation.
        kernel: its window.
        shape: of the output.
        depthwise: whether each channel sees only its own.
        wide: whether the input has 16 bits.
    """

    device: Device
    registers: Registers
    kernel: Kernel
    shape: tuple[int, int, int]
    depthwise: bool
    wide: bool

    def run(self, memory: Memory, x: Integers) -> Integers:
        """Scaled sums [height, width, depth].

        Args:
            x: input with pads, its zero point taken off.
        """
        out = np.empty(self.shape, np.int64)
        for core in range(self.cores):
            weights, scales = self.constants(memory, x.shape[2], core)
            own = x[:, :, core :: self.cores] if self.depthwise else x
            sums = (depthwise if self.depthwise else dense)(own, weights, self.kernel, self.shape)
            out[:, :, core :: self.cores] = self._finish(sums, scales)
        return out

    @property
    def cores(self) -> int:
        """Cores that have channels of the output."""
        return min(self.device.cores, self.shape[2])

    def constants(self, memory: Memory, inputs: int, core: int) -> tuple[NDArray[np.float32], Scales]:
        """Weights [outputs, height, width, inputs] and scales of a core's channels."""
        channels = len(range(core, self.shape[2], self.cores))
        return self._weights(memory, channels, inputs, core), self._scales(memory, channels, core)

    def _weights(self, memory: Memory, outputs: int, inputs: int, core: int) -> NDArray[np.float32]:
        suffix, registers, device = "1" if core else "", self.registers, self.device
        address, length = registers.address(f"WEIGHT{suffix}_BASE"), registers[f"WEIGHT{suffix}_LENGTH"]
        data = memory.load(registers["WEIGHT_REGION"] & 7, address, length).tobytes()
        block = registers["OFM_BLK_DEPTH_M1"] + 1
        order = Order(
            outputs=outputs,
            inputs=1 if self.depthwise else inputs,
            kernel=self.kernel.size,
            dilation=self.kernel.dilation,
            block=(block + device.cores - 1 - core) // device.cores,
            output_unit=device.output_block,
            input_unit=device.input_block,
            wide=self.wide,
            depthwise=self.depthwise,
            part_first=self.kernel.part_first and not self.depthwise,
        )
        return decode(data, order)

    def _scales(self, memory: Memory, channels: int, core: int) -> Scales:
        address = self.registers.address("SCALE1_BASE" if core else "SCALE_BASE")
        data = memory.load(self.registers["SCALE_REGION"] & 7, address, channels * _SCALE_BYTES)
        return scales_of(data, channels)

    def _finish(self, sums: Integers, scales: Scales) -> Integers:
        bits = _ACCUMULATOR_BITS.get(self.registers["ACC_FORMAT"] & 3, 32)
        rounding = known(Round, self.registers["OFM_PRECISION"] >> 14 & 3)
        return rescale(wrap(sums, bits) + scales.bias, scales.scale, scales.shift, rounding)


def weight_ranges(registers: Registers, cores: int) -> list[tuple[int, int, int]]:
    """Region, address and bytes of the weights and scales that an operation reads."""
    found = []
    for name in ("WEIGHT", "SCALE"):
        region = registers[f"{name}_REGION"] & 7
        for suffix in ("", "1")[:cores]:
            size = registers[f"{name}{suffix}_LENGTH"]
            if size:
                found.append((region, registers.address(f"{name}{suffix}_BASE"), size))
    return found


def _windows(x: NDArray[Any], kernel: Kernel, shape: tuple[int, int, int]) -> NDArray[Any]:
    """View [height, width, window height, window width, channels]."""
    y, c, d = x.strides
    strides = (y * kernel.stride[0], c * kernel.stride[1], y * kernel.dilation[0], c * kernel.dilation[1], d)
    return np.lib.stride_tricks.as_strided(x, (*shape[:2], *kernel.size, x.shape[2]), strides)


def dense(x: Integers, weights: NDArray[np.float32], kernel: Kernel, shape: tuple[int, int, int]) -> Integers:
    """A matrix product in float32 where it is exact, else in float64."""
    rows = shape[0] * shape[1]
    depth = weights[0].size
    largest = max(int(x.max(initial=0)), -int(x.min(initial=0))) * _LARGEST_WEIGHT * depth
    kind: np.dtype[Any] = np.dtype(np.float32 if largest < _EXACT_FLOAT32 else np.float64)
    windows = _windows(np.ascontiguousarray(x.astype(kind)), kernel, shape).reshape(rows, depth)
    product = windows @ weights.reshape(len(weights), depth).astype(kind, copy=False).T
    return np.asarray(product, np.int64).reshape(*shape[:2], len(weights))


def depthwise(x: Integers, weights: NDArray[np.float32], kernel: Kernel, shape: tuple[int, int, int]) -> Integers:
    """Sums of a window over each channel alone."""
    total = np.zeros((*shape[:2], len(weights)), np.int64)
    own = weights[..., 0].astype(np.int64)
    windows = _windows(x, kernel, shape)
    for row in range(kernel.size[0]):
        for column in range(kernel.size[1]):
            total += windows[:, :, row, column] * own[:, row, column]
    return total
