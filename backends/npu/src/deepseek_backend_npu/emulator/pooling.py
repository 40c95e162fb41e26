"""Poolings: maxima, averages over what lies inside the image, sums over channels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.emulator.feature_map import FeatureMap
from deepseek_backend_npu.emulator.isa import Pooling, Round
from deepseek_backend_npu.emulator.kernel import Kernel
from deepseek_backend_npu.emulator.output import scaled
from deepseek_backend_npu.emulator.scaling import rescale, wrap
from deepseek_backend_npu.emulator.stream import HazardError, Registers, known

__all__ = ["averaged", "pool", "taps"]

Integers = NDArray[np.int64]
_LOWEST = -(1 << 40)
_INPUT_LIMIT = 8


def pool(registers: Registers, mode: Pooling, x: Integers, source: FeatureMap, shape: tuple[int, int, int]) -> Integers:
    """Results [height, width, depth] before the output's zero point.

    Args:
        x: input as the window sees it, without pads, zero point included.
        source: the input's feature map.
        shape: of the output.
    """
    kernel = Kernel.of(registers)
    if mode is Pooling.REDUCE_SUM:
        return scaled(registers, wrap((x - source.zero).sum(axis=2, keepdims=True), 32))
    if mode is Pooling.MAX:
        windows = taps(x, kernel, shape, _LOWEST)
        return scaled(registers, np.maximum.reduce(windows) - source.zero)
    total = sum(taps(x - source.zero, kernel, shape, 0), np.zeros(shape, np.int64))
    if not any(kernel.pads):
        return scaled(registers, total)
    if max(kernel.size) > _INPUT_LIMIT:
        raise HazardError(f"an average over {kernel.size[0]} × {kernel.size[1]} with pads; 8 × 8 is the most")
    return averaged(total, kernel, (x.shape[0], x.shape[1]), known(Round, registers["OFM_PRECISION"] >> 14 & 3))


def taps(x: Integers, kernel: Kernel, shape: tuple[int, int, int], fill: int) -> list[Integers]:
    """For each element of the window, what it sees at every position."""
    top, left, bottom, right = kernel.pads
    image = np.pad(x, ((top, bottom), (left, right), (0, 0)), constant_values=fill) if any(kernel.pads) else x
    found = []
    for row in range(0, kernel.span(0), kernel.dilation[0]):
        for column in range(0, kernel.span(1), kernel.dilation[1]):
            rows = slice(row, row + (shape[0] - 1) * kernel.stride[0] + 1, kernel.stride[0])
            columns = slice(column, column + (shape[1] - 1) * kernel.stride[1] + 1, kernel.stride[1])
            found.append(image[rows, columns])
    return found


def averaged(total: Integers, kernel: Kernel, size: tuple[int, int], mode: Round) -> Integers:
    """Sums divided by as many elements as the window has inside the image: the hardware scales by the reciprocal."""
    shape = (total.shape[0], total.shape[1], total.shape[2])
    inside = np.ones((*size, 1), np.int64)
    counts = sum(taps(inside, kernel, shape, 0), np.zeros((shape[0], shape[1], 1), np.int64))
    if int(counts.min()) < 1:
        raise HazardError("an average over nothing: a window lies in the pads")
    bits = np.array([int(count - 1).bit_length() for count in counts.reshape(-1)]).reshape(counts.shape)
    scale = ((1 << 30) + 1 << bits) // counts
    return rescale(total, scale, 30 + bits, mode)
